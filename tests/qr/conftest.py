"""Two readers that share no code with ours or with each other."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import zxingcpp
from PIL import Image

Reader = Callable[[Image.Image], list[str]]


def read_by_zxing(picture: Image.Image) -> list[str]:
    """As the ZXing family of scanners reads: most Android camera apps."""
    return [found.text for found in zxingcpp.read_barcodes(picture.convert("L"))]


def read_by_wechat(picture: Image.Image) -> list[str]:
    """As WeChat reads: its own engine, published in OpenCV's contributed modules."""
    texts, _ = cv2.wechat_qrcode_WeChatQRCode().detectAndDecode(np.array(picture.convert("L")))
    return list(texts)


@pytest.fixture(params=[read_by_zxing, read_by_wechat])
def read(request: pytest.FixtureRequest) -> Reader:
    """Each of the readers in turn; gives the texts it finds in a picture."""
    reader: Reader = request.param
    return reader


@pytest.fixture(scope="session")
def readers() -> list[Reader]:
    """Both readers, for properties."""
    return [read_by_zxing, read_by_wechat]

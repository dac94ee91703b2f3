"""Three readers of QR codes that share no code with ours or with each other."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import zxingcpp
from PIL import Image

Reader = Callable[[Image.Image], set[str]]

_QR = 64  # ZBAR_QRCODE
_CFG_ENABLE = 0


def zxing(picture: Image.Image) -> set[str]:
    """As the ZXing family of scanners reads: most Android camera apps."""
    return {found.text for found in zxingcpp.read_barcodes(picture.convert("L"), try_invert=False)}


def wechat(picture: Image.Image) -> set[str]:
    """As WeChat reads: its own engine, published in OpenCV's contributed modules."""
    texts, _ = cv2.wechat_qrcode_WeChatQRCode().detectAndDecode(np.array(picture.convert("RGB")))
    return set(texts)


def zbar(picture: Image.Image) -> set[str]:
    """As Linux phones and many tills read: the C library behind zbarimg."""
    library = _zbar()
    grey = picture.convert("L")
    data = grey.tobytes()
    scanner, image = library.zbar_image_scanner_create(), library.zbar_image_create()
    try:
        library.zbar_image_scanner_set_config(scanner, 0, _CFG_ENABLE, 0)
        library.zbar_image_scanner_set_config(scanner, _QR, _CFG_ENABLE, 1)
        library.zbar_image_set_format(image, int.from_bytes(b"Y800", "little"))
        library.zbar_image_set_size(image, *grey.size)
        library.zbar_image_set_data(image, data, len(data), None)
        library.zbar_scan_image(scanner, image)
        found, symbol = set(), library.zbar_image_first_symbol(image)
        while symbol:
            length = library.zbar_symbol_get_data_length(symbol)
            found.add(ctypes.string_at(library.zbar_symbol_get_data(symbol), length).decode())
            symbol = library.zbar_symbol_next(symbol)
        return found
    finally:
        library.zbar_image_destroy(image)
        library.zbar_image_scanner_destroy(scanner)


def has_zbar() -> bool:
    """Debian: libzbar0."""
    return ctypes.util.find_library("zbar") is not None


READERS: dict[str, Reader] = {"zxing": zxing, "wechat": wechat} | ({"zbar": zbar} if has_zbar() else {})


@lru_cache(maxsize=1)
def _zbar() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("zbar"))
    pointer, number, wide = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
    signatures = {
        "zbar_image_scanner_create": (pointer, []),
        "zbar_image_scanner_destroy": (None, [pointer]),
        "zbar_image_scanner_set_config": (number, [pointer, number, number, number]),
        "zbar_image_create": (pointer, []),
        "zbar_image_destroy": (None, [pointer]),
        "zbar_image_set_format": (None, [pointer, wide]),
        "zbar_image_set_size": (None, [pointer, ctypes.c_uint, ctypes.c_uint]),
        "zbar_image_set_data": (None, [pointer, ctypes.c_char_p, wide, pointer]),
        "zbar_scan_image": (number, [pointer, pointer]),
        "zbar_image_first_symbol": (pointer, [pointer]),
        "zbar_symbol_next": (pointer, [pointer]),
        "zbar_symbol_get_data": (pointer, [pointer]),
        "zbar_symbol_get_data_length": (ctypes.c_uint, [pointer]),
    }
    for name, (answer, takes) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = answer, takes
    return library

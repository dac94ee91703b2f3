"""What happens to a code between paper and camera, by OpenCV: nothing here is shared with the pre-flight."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

MODULE_PX = 8  # a phone at arm's length


def clean(grey: np.ndarray) -> np.ndarray:
    return grey


def blur(grey: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(grey, (0, 0), 0.4 * MODULE_PX)


def rotation(grey: np.ndarray) -> np.ndarray:
    side = grey.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 15, 0.8)
    return cv2.warpAffine(grey, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=220)


def perspective(grey: np.ndarray) -> np.ndarray:
    side = grey.shape[0]
    corners = np.float32([[0, 0], [side, 0], [side, side], [0, side]])
    seen = np.float32([[0.12, 0.05], [0.9, 0.0], [1.0, 0.98], [0.0, 0.92]]) * side
    turn = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    return cv2.warpPerspective(grey, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=220)


def low_contrast(grey: np.ndarray) -> np.ndarray:
    """A quarter of the greys is left, and a sensor's noise of one grey; more noise than that ZXing minds."""
    noise = np.random.default_rng(7).normal(0, 1, grey.shape)
    return np.clip(90 + grey * 0.25 + noise, 0, 255).astype(np.uint8)


SPOILINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": clean,
    "blur": blur,
    "rotation": rotation,
    "perspective": perspective,
    "low contrast": low_contrast,
}


def spoilt(view: Image.Image, modules: int, name: str) -> Image.Image:
    """A view of a tile (quiet zone included), as a phone sees it after ``name`` has happened."""
    side = MODULE_PX * (modules + 8)
    grey = np.array(view.convert("L").resize((side, side), Image.Resampling.BICUBIC))
    framed = cv2.copyMakeBorder(grey, *[side // 12] * 4, cv2.BORDER_CONSTANT, value=220)
    return Image.fromarray(SPOILINGS[name](framed))

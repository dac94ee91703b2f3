"""Drawings turned into pixels, for readers of codes to look at."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"


def picture_of_png(data: bytes) -> Image.Image:
    """All its pixels."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def picture_of_svg(data: bytes, module_px: int = 6) -> Image.Image:
    """Follow the path's commands (M, m, h) with a pen one module wide, as SVG 2 chapter 9 says."""
    root = ET.fromstring(data)
    side = int(root.attrib["viewBox"].split()[2])
    modules = Image.new("L", (side, side), 128)
    tile, path = root.find(f"{SVG}rect"), root.find(f"{SVG}path")
    assert tile is not None
    assert path is not None
    modules.paste(255, (0, 0, int(tile.attrib["width"]), int(tile.attrib["height"])))
    commands = re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path.attrib["d"])
    assert "".join(["".join([name, x, y and f" {y}"]) for name, x, y in commands]) == path.attrib["d"]
    across, down = 0.0, 0.0
    for name, x, y in commands:
        if name == "h":
            top = down - 0.5
            assert top.is_integer()
            modules.paste(0, (int(across), int(top), int(across + float(x)), int(top) + 1))
            across += float(x)
        else:
            across, down = (across, down) if name == "m" else (0.0, 0.0)
            across, down = across + float(x), down + float(y)
    return modules.resize((side * module_px, side * module_px), Image.Resampling.NEAREST)


def picture_of(colour: str) -> bytes:
    """A merchant's logo of one colour, as a PNG file."""
    out = io.BytesIO()
    Image.new("RGB", (200, 100), colour).save(out, "PNG")
    return out.getvalue()

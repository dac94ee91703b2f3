"""A thermal printer on the desk: reads ESC/POS bytes and says what it would put on paper.

Written from Epson's command reference, without a look at what wrote the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image


@dataclass
class Paper:
    """What came out, cut by cut."""

    lines: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    codes: list[tuple[str, int, str]] = field(default_factory=list)  # data, dots a module, level
    strips: list[Image.Image] = field(default_factory=list)
    cuts: int = 0

    @property
    def picture(self) -> Image.Image:
        """All raster strips, one below the other."""
        whole = Image.new("L", (self.strips[0].width, sum(strip.height for strip in self.strips)), 255)
        top = 0
        for strip in self.strips:
            whole.paste(strip, (0, top))
            top += strip.height
        return whole


class Printer:
    """Reads byte after byte; anything it does not know is an error, as paper would be full of rubbish."""

    def __init__(self) -> None:
        self.paper = Paper()
        self._style: dict[str, int] = {}
        self._chinese = False
        self._text = bytearray()
        self._begun: dict[str, int] = {}
        self._model, self._dots, self._level, self._stored = 0, 3, "L", b""

    def print(self, data: bytes) -> Paper:
        at = 0
        while at < len(data):
            at = self._step(data, at)
        assert not self._text, "a line without its end stays in the printer"
        return self.paper

    def _step(self, data: bytes, at: int) -> int:
        byte = data[at]
        if byte == 0x0A:
            text = bytes(self._text)
            assert self._chinese or text.isascii(), "Chinese before FS &"
            if text:
                self.paper.lines.append((text.decode("gbk"), self._begun))
            self._text.clear()
            return at + 1
        if byte == 0x1B:
            return self._escape(data, at)
        if byte == 0x1C:
            assert data[at + 1] == ord("&"), data[at : at + 2]
            self._chinese = True
            return at + 2
        if byte == 0x1D:
            return self._group(data, at)
        assert byte >= 0x20, hex(byte)
        if not self._text:
            self._begun = dict(self._style)  # letters keep the style in which they came
        self._text.append(byte)
        return at + 1

    def _escape(self, data: bytes, at: int) -> int:
        command = chr(data[at + 1])
        if command == "@":
            self._style, self._chinese = {}, False
            return at + 2
        names = {"a": "align", "E": "bold"}
        self._style[names[command]] = data[at + 2]
        return at + 3

    def _group(self, data: bytes, at: int) -> int:
        command = chr(data[at + 1])
        if command == "!":
            self._style["size"] = data[at + 2]
            return at + 3
        if command == "B":
            self._style["inverse"] = data[at + 2]
            return at + 3
        if command == "V":
            assert data[at + 2] == 66
            self.paper.cuts += 1
            return at + 4
        if command == "v":
            return self._raster(data, at)
        assert command == "(", command
        assert data[at + 2] == ord("k")
        length = data[at + 3] + 256 * data[at + 4]
        self._symbol(data[at + 5 : at + 5 + length])
        return at + 5 + length

    def _symbol(self, block: bytes) -> None:
        assert block[0] == 49, "cn of QR is 49"
        function, rest = block[1], block[2:]
        if function == 65:
            self._model = rest[0]
        elif function == 67:
            self._dots = rest[0]
        elif function == 69:
            self._level = "LMQH"[rest[0] - 48]
        elif function == 80:
            assert rest[0] == 48
            self._stored = rest[1:]
        else:
            assert function == 81
            assert self._model == 50, "model 2"
            self.paper.codes.append((self._stored.decode("ascii"), self._dots, self._level))

    def _raster(self, data: bytes, at: int) -> int:
        assert data[at + 2 : at + 4] == b"0\x00"
        across, rows = (
            int.from_bytes(data[at + 4 : at + 6], "little"),
            int.from_bytes(data[at + 6 : at + 8], "little"),
        )
        assert rows <= 255
        bits = data[at + 8 : at + 8 + across * rows]
        assert len(bits) == across * rows
        strip = Image.frombytes("1", (8 * across, rows), bytes(byte ^ 0xFF for byte in bits))
        self.paper.strips.append(strip.convert("L"))
        return at + 8 + across * rows

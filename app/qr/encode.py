"""What the modules of a QR code are: text in, a matrix of dark and light out.

The ``qrcode`` package decides (how text is cut into segments, which version it needs, where patterns
and format bits lie); this module says the same in a twentieth of the time, and the tests hold the two
equal, bit for bit, for every version and level.  Most of qrcode's time goes into choosing the mask:
eight times it places every bit and scores the result one module after another.  Here

* a *template* per (version, level) knows where each codeword bit lands, so one ``itemgetter`` places all;
* the whole symbol is one integer, row after row, and behind it the same symbol column after column, so
  that one shift, one AND and one ``bit_count()`` do for every row and column what a rule does for one;
* a mask is such an integer too, and XOR applies it;
* Reed-Solomon remainders are integers, eight bits a step, from a table of the generator's multiples.

Each row ends in one separator bit that is neither dark nor light, so no run crosses from row to row.

Pure.  Source: ISO/IEC 18004:2015 sections 7.3 and 7.4 (segments, bit stream), 7.5 (error correction,
Annex A), 7.6 and 7.7 (order and placement), 7.8 (masks, 7.8.3.1 penalties), 7.9 and 7.10 (format, version).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal

from qrcode import base, constants, util
from qrcode.main import QRCode

from app.errors import InvalidRequest

# Our own links have about 80 characters and the wallets' addresses less than 300.  Version 20 is 97
# modules a side; denser codes do not scan from a screen, and cost grows with the square of the side.
TEXT_CHARS_MAX = 600
VERSION_MAX = 20


class Level(StrEnum):
    """How much of the symbol may be damaged: about 7, 15, 25 and 30 per cent of its codewords."""

    L = "L"
    M = "M"
    Q = "Q"
    H = "H"


_QRCODE_LEVELS = {
    Level.L: constants.ERROR_CORRECT_L,
    Level.M: constants.ERROR_CORRECT_M,
    Level.Q: constants.ERROR_CORRECT_Q,
    Level.H: constants.ERROR_CORRECT_H,
}
_ALPHANUMERIC = {code: value for value, code in enumerate(util.ALPHA_NUM)}
_NUMERIC_BITS = (0, 4, 7, 10)  # for 1, 2 and 3 digits
_PADDING = bytes([util.PAD0, util.PAD1]) * 1_500  # more than the 2,956 codewords of the largest symbol


@dataclass(frozen=True, slots=True)
class Matrix:
    """A QR symbol without its quiet zone: ``size`` modules a side.

    ``rows`` run from top to bottom; in each the leftmost module is the highest bit, and 1 is dark.
    """

    size: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of text in one mode, already packed: ``bits`` holds ``length`` bits of content."""

    mode: Literal[1, 2, 4, 8]
    chars: int
    bits: int
    length: int


@dataclass(frozen=True, slots=True)
class _Template:
    """All of one (version, level) that does not depend on the text.

    Integers hold the symbol twice, by rows and then by columns; ``half`` is the length of each.
    """

    size: int
    blocks: tuple[tuple[int, int], ...]  # data codewords, error correction codewords
    place: Callable[[str], tuple[str, ...]] = field(repr=False)  # codeword bits -> both halves
    fixed: int  # finder, timing and alignment patterns; format and version still light
    modules: int  # every module; the separators are 0
    pairs: int  # every module that has a neighbour before it
    masks: tuple[int, ...]
    formats: tuple[int, ...]  # rows only: format and version information for each mask
    half: int


def matrix_for(text: str, level: Level = Level.M) -> Matrix:
    """The smallest symbol for this text, with the mask that scanners like best.

    ``matrix_for("https://PAY.EXAMPLE.COM/C/01JD…", Level.M).size -> 33``.  Raises InvalidRequest unless
    the text is 1 to 600 printable ASCII characters that fit version 20.
    """
    if not 0 < len(text) <= TEXT_CHARS_MAX:
        raise InvalidRequest(f"a QR code takes 1 to {TEXT_CHARS_MAX} characters, not {len(text)}")
    # Beyond ASCII, readers disagree on the character set; an address has no need of it.
    if not (text.isascii() and text.isprintable()):
        raise InvalidRequest("a QR code takes printable ASCII characters only")
    segments = [_packed(chunk) for chunk in util.optimal_data_chunks(text, minimum=20)]
    version = _version_for(segments, level)
    if version > VERSION_MAX:
        raise InvalidRequest(f"the text does not fit a QR code of version {VERSION_MAX} at level {level}")
    return _drawn(segments, version, level)


def _packed(chunk: util.QRData) -> _Segment:
    """Content bits of one segment (sections 7.4.3 to 7.4.5), without its header."""
    data: bytes = chunk.data
    bits, length = 0, 0
    if chunk.mode == util.MODE_NUMBER:
        for i in range(0, len(data), 3):
            digits = data[i : i + 3]
            width = _NUMERIC_BITS[len(digits)]
            bits, length = bits << width | int(digits), length + width
    elif chunk.mode == util.MODE_ALPHA_NUM:
        values = [_ALPHANUMERIC[code] for code in data]
        for first, second in zip(values[::2], values[1::2], strict=False):
            bits = bits << 11 | first * 45 + second
        length = len(values) // 2 * 11
        if len(values) % 2:
            bits, length = bits << 6 | values[-1], length + 6
    else:
        bits, length = int.from_bytes(data, "big"), 8 * len(data)
    return _Segment(chunk.mode, len(data), bits, length)


def _version_for(segments: Sequence[_Segment], level: Level) -> int:
    """The smallest version that holds the segments; 41 if none does.

    Counts are wider in versions 10 and 27 (Table 3), so a step over these asks for another look.
    """
    limits = util.BIT_LIMIT_TABLE[_QRCODE_LEVELS[level]]
    version = 1
    while True:
        widths = util.mode_sizes_for_version(version)
        needed = sum([4 + widths[segment.mode] + segment.length for segment in segments])
        version = bisect_left(limits, needed, version)
        if version > 40 or widths is util.mode_sizes_for_version(version):
            return version


def _drawn(segments: Sequence[_Segment], version: int, level: Level) -> Matrix:
    template = _template(version, level)
    bits = _codeword_bits(segments, version, template.blocks)
    plain = int("".join(template.place(bits)), 2) | template.fixed
    penalties = [_penalty(plain ^ mask, template) for mask in template.masks]
    best = penalties.index(min(penalties))
    symbol = (plain ^ template.masks[best]) >> template.half | template.formats[best]
    text = f"{symbol:0{template.half}b}"
    size = template.size
    return Matrix(size, tuple([int(text[i : i + size], 2) for i in range(0, template.half, size + 1)]))


def _codeword_bits(segments: Sequence[_Segment], version: int, blocks: Sequence[tuple[int, int]]) -> str:
    """Data and error correction as "0" and "1", block after block, and one "0" for all other modules."""
    widths = util.mode_sizes_for_version(version)
    stream, length = 0, 0
    for segment in segments:
        header = segment.mode << widths[segment.mode] | segment.chars
        stream = (stream << 4 + widths[segment.mode] | header) << segment.length | segment.bits
        length += 4 + widths[segment.mode] + segment.length
    capacity = sum([data for data, _ in blocks])
    # The terminator is four zeros or what room there is; zeros then fill the last codeword (7.4.9, 7.4.10).
    terminated = min(length + 4, 8 * capacity)
    used = (terminated + 7) // 8
    data = (stream << 8 * used - length).to_bytes(used, "big") + _PADDING[: capacity - used]

    words, start = [], 0
    for data_count, correction_count in blocks:
        block = data[start : start + data_count]
        words += [block, _correction(block, correction_count)]
        start += data_count
    message = b"".join(words)
    return f"{int.from_bytes(message, 'big'):0{8 * len(message)}b}0"


def _correction(block: bytes, count: int) -> bytes:
    """Reed-Solomon error correction codewords: the remainder of division by the generator (7.5.2)."""
    multiples = _multiples(count)
    top, kept = 8 * (count - 1), (1 << 8 * (count - 1)) - 1
    remainder = 0
    for word in block:
        remainder = (remainder & kept) << 8 ^ multiples[remainder >> top ^ word]
    return remainder.to_bytes(count, "big")


def _penalty(symbol: int, template: _Template) -> int:
    """How much this masked symbol troubles a scanner: the sum of the four rules of 7.8.3.1.

    As in qrcode, the format and version areas are light while masks are compared.
    """
    same = template.pairs & ~(symbol ^ symbol >> 1)  # modules like the one before them
    two = same & same >> 1
    five = two & two >> 2  # the last of five modules of one colour
    runs = five.bit_count() + 2 * (five & ~(five >> 1)).bit_count()  # 3 for five, 1 for each further

    stride, half = template.size + 1, template.half
    rows, same_rows = symbol >> half, same >> half
    blocks = (same_rows & same_rows >> stride & ~(rows ^ rows >> stride)).bit_count()

    light = symbol ^ template.modules
    two = light & light >> 1
    four_light = two & two >> 2
    finder = symbol & light >> 1 & symbol >> 2 & symbol >> 3 & symbol >> 4 & light >> 5 & symbol >> 6
    finders = (finder & four_light >> 7).bit_count() + (four_light & finder >> 4).bit_count()

    area = template.size**2
    imbalance = abs(20 * rows.bit_count() - 10 * area) // area  # steps of 5 % away from half dark
    return runs + 3 * blocks + 40 * finders + 10 * imbalance


@lru_cache(maxsize=32)  # the standard uses 31 generators at most
def _multiples(count: int) -> tuple[int, ...]:
    """The generator polynomial of this degree times each of the 256 values, without its leading term."""
    generator = base.Polynomial([1], 0)
    for i in range(count):
        generator = generator * base.Polynomial([1, base.gexp(i)], 0)
    logs = [base.glog(coefficient) for coefficient in list(generator)[1:]]
    products = [bytes(count)]
    products += [bytes([base.gexp(base.glog(value) + log) for log in logs]) for value in range(1, 256)]
    return tuple([int.from_bytes(product, "big") for product in products])


# Our own links need three or four templates.  A large one weighs 0.5 MB, so 16 stay below 8 MB.
@lru_cache(maxsize=16)
def _template(version: int, level: Level) -> _Template:
    size = 4 * version + 17
    # qrcode calls a block's length total_count; its order of blocks is Table 9's.
    rs_blocks = base.rs_blocks(version, _QRCODE_LEVELS[level])
    blocks = tuple([(block.data_count, block.total_count - block.data_count) for block in rs_blocks])
    patterns = _patterns(version, level)
    landing = dict(zip(_free_modules(patterns), _interleaved_bits(blocks), strict=False))
    unused = 8 * sum([block.total_count for block in rs_blocks])  # the "0" behind the codewords
    free = [[module is None for module in row] for row in patterns]
    order = [landing.get((i, j), unused) for i in range(size) for j in [*range(size), size]]
    order += [landing.get((i, j), unused) for j in range(size) for i in [*range(size), size]]
    modules = _twice([[True] * size] * size)
    return _Template(
        size=size,
        blocks=blocks,
        place=itemgetter(*order),
        fixed=_twice([[module is True for module in row] for row in patterns]),
        modules=modules,
        pairs=modules & modules >> 1,
        masks=tuple([_twice(_mask(number, free)) for number in range(8)]),
        formats=tuple([_formats(version, level, number) for number in range(8)]),
        half=size * (size + 1),
    )


def _patterns(version: int, level: Level) -> list[list[bool | None]]:
    """Function patterns as qrcode draws them: True, False, or None where codewords go."""
    symbol = _blank(version, level)
    far = symbol.modules_count - 7
    for row, column in ((0, 0), (far, 0), (0, far)):
        symbol.setup_position_probe_pattern(row, column)
    symbol.setup_position_adjust_pattern()
    symbol.setup_timing_pattern()
    _write_information(symbol, 0, test=True)
    return symbol.modules


def _formats(version: int, level: Level, mask: int) -> int:
    """Format and version information, and the one module that is always dark (sections 7.9 and 7.10)."""
    symbol = _blank(version, level)
    _write_information(symbol, mask, test=False)
    return _once([[module is True for module in row] for row in symbol.modules])


def _blank(version: int, level: Level) -> QRCode[Any]:
    symbol: QRCode[Any] = QRCode(version=version, error_correction=_QRCODE_LEVELS[level])
    symbol.modules_count = 4 * version + 17
    symbol.modules = [[None] * symbol.modules_count for _ in range(symbol.modules_count)]
    return symbol


def _write_information(symbol: QRCode[Any], mask: int, *, test: bool) -> None:
    symbol.setup_type_info(test, mask)
    if symbol.version >= 7:
        symbol.setup_type_number(test)


def _free_modules(patterns: list[list[bool | None]]) -> Iterator[tuple[int, int]]:
    """Where codeword bits go, in order: up and down in columns of two, from the right (7.7.3)."""
    size = len(patterns)
    upward = True
    for right in [*range(size - 1, 6, -2), 5, 3, 1]:  # column 6 is the timing pattern
        for row in range(size - 1, -1, -1) if upward else range(size):
            for column in (right, right - 1):
                if patterns[row][column] is None:
                    yield row, column
        upward = not upward


def _interleaved_bits(blocks: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The bits of ``_codeword_bits`` in the order of the final message: by turns from each block (7.6)."""
    data_starts, correction_starts, start = [], [], 0
    for data_count, correction_count in blocks:
        data_starts.append(range(start, start + data_count))
        correction_starts.append(range(start + data_count, start + data_count + correction_count))
        start += data_count + correction_count
    for words in (data_starts, correction_starts):
        for turn in range(max(map(len, words))):
            for block in words:
                if turn < len(block):
                    yield from range(8 * block[turn], 8 * block[turn] + 8)


def _mask(number: int, free: list[list[bool]]) -> list[list[bool]]:
    """The modules that a mask turns over; it spares the function patterns (7.8.2)."""
    turns = util.mask_func(number)
    return [[cell and turns(i, j) for j, cell in enumerate(row)] for i, row in enumerate(free)]


def _once(grid: list[list[bool]]) -> int:
    """A grid as one integer, row after row, each with its separator bit."""
    return int("".join(["".join(["01"[cell] for cell in row]) + "0" for row in grid]), 2)


def _twice(grid: list[list[bool]]) -> int:
    """A grid by rows and then by columns."""
    columns = [list(column) for column in zip(*grid, strict=True)]
    return _once(grid) << len(grid) * (len(grid) + 1) | _once(columns)

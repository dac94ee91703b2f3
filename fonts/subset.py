"""How the two fonts of this folder were made from Noto Sans SC; run again only for a newer Noto.

``python fonts/subset.py FOLDER`` takes ``NotoSansSC_400Regular.ttf`` and ``NotoSansSC_700Bold.ttf`` of the
npm package @expo-google-fonts/noto-sans-sc (0.4.3).  What GBK can write is kept of the regular weight, which
is every character of a Chinese keyboard; of the bold one what GB2312 can write: a heading's rarer characters
fall back to the regular weight, and 5 MB stay out.  Hints and layout tables go: paper needs none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

HERE = Path(__file__).resolve().parent
# Money signs and typographic marks that neither set has, and the Latin letters of Europe.
BESIDES = {*range(0x20, 0x7F), *range(0xA0, 0x180), *map(ord, "–—‘’“”•…€₩￥№℃")}
FONTS = (
    ("NotoSansSC_400Regular.ttf", "NotoSansSC-Regular.ttf", "gbk"),
    ("NotoSansSC_700Bold.ttf", "NotoSansSC-Bold.ttf", "gb2312"),
)


def main() -> None:
    """Write both fonts beside this file."""
    source = Path(sys.argv[1])
    for name, target, charset in FONTS:
        options = subset.Options()
        options.hinting = False
        options.layout_features = []
        options.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "vhea", "vmtx", "VORG", "STAT", "DSIG"]
        options.name_IDs = ["*"]  # the copyright and the licence travel with the font
        options.recalc_timestamp = False
        font = TTFont(next(source.rglob(name)), recalcTimestamp=False)
        chosen = subset.Subsetter(options)
        chosen.populate(unicodes=_characters(charset))
        chosen.subset(font)
        font.save(HERE / target)


def _characters(charset: str) -> set[int]:
    return BESIDES | {code for code in range(0x10000) if _can_write(charset, code)}


def _can_write(charset: str, code: int) -> bool:
    try:
        chr(code).encode(charset)
    except UnicodeEncodeError:
        return False
    return code >= 0x20


main()

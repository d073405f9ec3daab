"""The encoding of a text file: byte order mark, UTF-8, a declared charset, or a guess that is reported.

Charsets are read by their WHATWG names, as browsers do: what is declared as iso-8859-1 is windows-1252, gb2312 is gbk.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from pretrieve.text.language import detect

UTF8_MARK = codecs.BOM_UTF8
_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (UTF8_MARK, "utf-8"),
)
_GUESSED = """
cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 koi8_r koi8_u iso8859_2 cp866 cp932 euc_jp gb18030 big5 cp949
cp874
"""
_CANDIDATES = _GUESSED.split()
_FOREIGN = 0.3  # share of non-ASCII bytes below which a text is in Latin script
_USUAL = {  # encodings of languages in Latin script; of all others windows-1252
    "cp1250 iso8859_2": frozenset({"pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"}),
    "cp1254": frozenset({"tr"}),
    "cp1257": frozenset({"lt", "lv", "et"}),
}
_SAMPLE = 1 << 16  # bytes that a guess looks at
_BINARY = 0.02  # share of control bytes from which a file is not text
_CONTROLS = bytes({*range(9), *range(14, 27), *range(28, 32), 127})  # but tab, line ends, form feed and escape
_WORDS = {"cp1252": "windows-1252", "cp1250": "windows-1250", "cp1251": "windows-1251", "cp932": "Shift_JIS"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes are read as text.

    Attributes:
        codec: Python's name.
        guessed: whether nothing but the bytes themselves says so.
    """

    codec: str
    guessed: bool = False

    @property
    def label(self) -> str:
        """Name for messages."""
        return _WORDS.get(self.codec, self.codec.replace("_", "-"))


UTF8 = Encoding("utf-8")


def by_mark(head: bytes) -> Encoding | None:
    """The encoding that the first bytes of a file name by a byte order mark, or by the zeros of UTF-16."""
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return Encoding(codec)
    return _utf16_without_mark(head[:4096])


def declared(label: str) -> Encoding | None:
    """The encoding of a declared charset by its WHATWG name; None if no such charset is known."""
    import webencodings

    found = webencodings.lookup(label)
    return None if found is None else Encoding("utf-8" if found.name.startswith("utf-16") else found.codec_info.name)


def is_utf8(data: bytes, *, cut: bool = False) -> bool:
    """Whether bytes are UTF-8; the last character may be ``cut``."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, not cut)
    except UnicodeDecodeError:
        return False
    return True


def is_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are no text: too many of them are control characters."""
    return len(head) - len(head.translate(None, _CONTROLS)) > max(3, _BINARY * len(head))


def guess(data: bytes) -> Encoding | None:
    """The encoding of bytes that are not UTF-8, by the language or by charset-normalizer.

    Args:
        data: bytes that are not UTF-8.

    Returns:
        None if they are no text, or damaged UTF-8: most non-ASCII characters are UTF-8.
    """
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    sample = b"\n".join(lines)[:_SAMPLE]
    foreign = [character for character in sample.decode(errors="surrogateescape") if character > "\x7f"]
    broken = sum("\udc80" <= character <= "\udcff" for character in foreign)
    if is_binary(data[:_SAMPLE]) or 2 * broken <= len(foreign):
        return None
    codec = _latin(data, sample) if len(foreign) < max(3, _FOREIGN * len(sample)) else None
    codec = codec or _likeliest(sample, _CANDIDATES)
    return Encoding(codec, guessed=True) if codec else None


def _latin(data: bytes, sample: bytes) -> str | None:
    """The encoding of a text in Latin script, by the encoding usual for its language; None if it is not that one."""
    language = detect(data[:_SAMPLE].decode("cp1252", errors="replace"))
    usual = next((codecs for codecs, languages in _USUAL.items() if language in languages), "cp1252")
    codec = _likeliest(sample, usual.split()) if " " in usual else usual
    if codec is None:
        return None
    try:
        sample.decode(codec)
    except UnicodeDecodeError:
        return None
    return codec


def _likeliest(sample: bytes, candidates: list[str]) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=candidates).best()
    return None if best is None else best.encoding


def _utf16_without_mark(head: bytes) -> Encoding | None:
    """UTF-16 of mostly ASCII text: every other byte is zero."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half < 8 or max(even, odd) < 0.7 * half or min(even, odd) > 0.1 * half:
        return None
    return Encoding("utf-16-le" if odd > even else "utf-16-be")

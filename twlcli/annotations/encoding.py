"""Opening text files whose encoding nobody wrote down."""

from __future__ import annotations

import codecs
import io
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from twlcli.errors import AnnotationError, reason_of

WINDOWS_1252 = "cp1252"
_CHUNK = 1 << 20  # bytes
_ASCII = bytes(range(128))

# Characters of a line, and of a cell; a list of a million labels has some ten million.
_MOST_AT_ONCE = 2 << 30  # bytes; the JSON of the largest data sets has one GB
LONGEST_LINE = 1 << 26

# Zip archives, which .xlsx and .ods are, and the older .xls.
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")  # gz, bz2, xz, zst

# Encodings whose text Windows-1252 can decode too, and what is in it when they are right. Western
# text has letters beyond ASCII one at a time; two ideographs need four such bytes on end.
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]{2}")
_IDEOGRAPHS = re.compile("[\u4e00-\u9fff]{2}")
_FOREIGN = (
    ("Shift-JIS", "cp932", _KANA),
    ("EUC-JP", "euc_jp", _KANA),
    ("Shift-JIS", "cp932", _IDEOGRAPHS),
    ("GB18030", "gb18030", _IDEOGRAPHS),
    ("Big5", "big5", _IDEOGRAPHS),
    ("EUC-KR", "cp949", re.compile("[\uac00-\ud7a3]{2}")),
    ("Windows-1251", "cp1251", re.compile("[\u0430-\u044f]{3}")),
)

_UTF8 = re.compile(  # of letters beyond ASCII
    rb"[\xc2-\xdf][\x80-\xbf]"
    rb"|(?:\xe0[\xa0-\xbf]|\xed[\x80-\x9f]|[\xe1-\xec\xee\xef][\x80-\xbf])[\x80-\xbf]"
    rb"|(?:\xf0[\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|\xf4[\x80-\x8f])[\x80-\xbf]{2}"
)
# Of the letters beyond ASCII, those that are UTF-8: in Western text hardly any is by chance.
_SURELY_MIXED = 0.5
_MIXED = 0.1


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into AnnotationErrors about `path`."""
    try:
        yield
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({reason_of(error)})") from error


def find_encoding(path: Path) -> str:
    """The encoding of a text file: UTF-8, UTF-16 by its mark or its zeros, else Windows-1252.

    Windows-1252 holds all letters of latin-1. The whole file is decoded once, in pieces, so that
    reading it afterwards in the encoding returned cannot fail.

    Raises:
        AnnotationError: the file cannot be read, is empty, is a spreadsheet, is UTF-8 but for some
            letters, or is not text in any of the three; names another encoding that it seems to
            be in.
    """
    check_is_file(path)
    with readable(path), path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise AnnotationError(f"{path}: the file is empty")
    if start.startswith(_SPREADSHEETS):
        raise AnnotationError(f"{path}: is a spreadsheet, or another archive; save it as CSV UTF-8")
    if start.startswith(_COMPRESSED):
        raise AnnotationError(f"{path}: is compressed; unpack it first")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif unmarked := _utf16_without_mark(start):
        candidates = [unmarked]
    else:
        candidates = ["utf-8-sig", WINDOWS_1252]
    for encoding in candidates:
        if encoding == WINDOWS_1252:
            with readable(path), path.open("rb") as file:
                share = _utf8_share(iter(lambda: file.read(_CHUNK), b""))
            _check_not_mixed(path, share, _SURELY_MIXED)
            _check_not_foreign(path, _from_first_beyond_ascii(path))
            _check_not_mixed(path, share, _MIXED)
        if _decodes(path, encoding):
            return encoding
    raise AnnotationError(f"{path}: is not text in UTF-8, UTF-16 or Windows-1252")


def _utf16_without_mark(start: bytes) -> str | None:
    """The kind of UTF-16 of a text whose first two characters are ASCII."""
    zeros = [byte == 0 for byte in start[:4]]
    kinds = {(False, True): "utf-16-le", (True, False): "utf-16-be"}
    return kinds.get((zeros[0], zeros[1])) if len(zeros) == 4 and zeros[:2] == zeros[2:] else None


def _from_first_beyond_ascii(path: Path) -> bytes:
    """Up to 2 `_CHUNK` bytes from the first one beyond ASCII."""
    with readable(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if not chunk.isascii():
                first = len(chunk) - len(chunk.lstrip(_ASCII))
                return chunk[first:] + file.read(_CHUNK)
    return b""


def _utf8_share(pieces: Iterable[bytes]) -> float:
    """Of the letters beyond ASCII the share that are UTF-8; others count as a byte each."""
    good = bad = 0
    for piece in pieces:
        rest, count = _UTF8.subn(b"", piece)
        good += count
        bad += len(rest.translate(None, _ASCII))
    return good / max(good + bad, 1)


def _check_not_mixed(path: Path, share: float, least: float) -> None:
    """Raise AnnotationError where so much of a text is UTF-8 that its other letters are damage.

    Read as Windows-1252, all names but those would be wrong.
    """
    if share < least:
        return
    with readable(path), path.open("rb") as file:
        for line, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
            try:
                text.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                what = f"the byte 0x{text[error.start]:02X} is not UTF-8, as other letters here are"
                raise AnnotationError.at(path, line, f"{what}; save all as UTF-8") from None


def _check_not_foreign(path: Path, text: bytes) -> None:
    """Raise AnnotationError where text that is not UTF-8 looks like that of another script."""
    found = [name for name, encoding, signs in _FOREIGN if signs.search(_decoded(text, encoding))]
    if not found:
        return
    if _KANA.search(_decoded(text, "cp932")) or _KANA.search(_decoded(text, "euc_jp")):
        found = found[:1]
    names = " or ".join(dict.fromkeys(found))
    raise AnnotationError(f"{path}: is not UTF-8 and looks like {names}; save it as UTF-8")


def _decoded(text: bytes, encoding: str) -> str:
    """The text; empty where the encoding is another. A last character may be cut off."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(text)
    except UnicodeDecodeError:
        return ""


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with readable(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError:
                return False
            _check_no_nul(path, text, line)
            line += text.count("\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def read_bytes(path: Path, *, most: int = _MOST_AT_ONCE) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        most: how many it may have.

    Raises:
        AnnotationError: it cannot be read, is larger, or is a pipe or a device, which may never
            end.
    """
    check_is_file(path)
    with readable(path):
        if path.stat().st_size > most:
            raise AnnotationError(f"{path}: is larger than {most >> 20} MiB")
        return path.read_bytes()


def check_is_file(path: Path) -> None:
    """Raise AnnotationError where a path leads to no file, such as a pipe, which is read once."""
    with readable(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise AnnotationError(f"{path}: is not a file ({stat.filemode(mode)})")


def _check_no_nul(path: Path, text: str, line: int) -> None:
    if "\0" in text:
        line += text[: text.index("\0")].count("\n")
        raise AnnotationError.at(path, line, "a NUL character; this is not a text file")


@contextmanager
def open_text(path: Path, encoding: str, *, errors: str = "strict") -> Iterator[TextIO]:
    """Open a text file for reading; lines end with LF, CR LF or CR and keep their ends."""
    form: Any = {"encoding": encoding, "errors": errors, "newline": ""}
    with readable(path), _Lines(path.open("rb"), **form) as file:
        file.path = path
        yield file


class _Lines(io.TextIOWrapper):
    """Text whose lines are not endless: a file may be one line that fills the memory."""

    path: Path

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """As a file does.

        Raises:
            AnnotationError: the line is longer than any of a label file.
        """
        line = super().readline(LONGEST_LINE if size is None or size < 0 else size)
        if len(line) >= LONGEST_LINE:
            message = f"has a line of more than {LONGEST_LINE:,} characters; is it a label file?"
            raise AnnotationError(f"{self.path}: {message}")
        return line

    def __next__(self) -> str:  # type: ignore[override]
        if line := self.readline():
            return line
        raise StopIteration


def read_text(path: Path) -> str:
    """The text of a small file in UTF-8, UTF-16 with its mark, or Windows-1252; may be empty.

    Raises:
        AnnotationError: the file cannot be read or is not text in any of the three.
    """
    content = read_bytes(path)
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    unmarked = _utf16_without_mark(content[:4])
    utf16 = "utf-16" if marked else unmarked
    for encoding in [utf16] if utf16 else ["utf-8-sig", WINDOWS_1252]:
        if encoding == WINDOWS_1252:
            share = _utf8_share([content])
            _check_not_mixed(path, share, _SURELY_MIXED)
            _check_not_foreign(path, content)
            _check_not_mixed(path, share, _MIXED)
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        _check_no_nul(path, text, line=1)
        return text
    raise AnnotationError(f"{path}: is not text in UTF-8, UTF-16 or Windows-1252")


def json_fault(error: ValueError) -> str:
    """Why JSON cannot be read that is well-formed; Python's own words are about Python.

    Example:
        >>> json_fault(ValueError("Exceeds the limit (4300 digits) for integer string conversion"))
        'a number has too many digits'
    """
    return "a number has too many digits" if "digits)" in str(error) else str(error)

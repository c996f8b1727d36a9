"""Photographs that need more than Pillow: what they are called, and what reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from twlcli.errors import ImageError


@dataclass(frozen=True)
class Kind:
    """A kind of photograph.

    Attributes:
        name: such as `RAW photograph`.
        suffixes: of its files, in lower case.
        extra: of twl's that reads it; None where nothing does.
        package: what the extra installs, as it is imported.
    """

    name: str
    suffixes: tuple[str, ...]
    extra: str | None = None
    package: str | None = None

    @property
    def is_readable(self) -> bool:
        """Whether what reads it is installed."""
        return self.package is not None and _is_installed(self.package)

    @property
    def refusal(self) -> ImageError:
        """Why it cannot be read."""
        if self.extra is None:
            return ImageError(f"not supported: {self.name}")
        return ImageError(f"{self.name} {self._need('needs')}")

    def _need(self, verb: str) -> str:
        return f"{verb} the '{self.extra}' extra: pip install 'twlcli[{self.extra}]'"

    def summary(self, suffixes: Mapping[str, int]) -> str:
        """What is said of files that were passed over.

        Example:
            >>> RAW.summary({".nef": 2, ".cr2": 10})
            "12 files are RAW photographs (CR2, NEF), which need the 'raw' extra: \
pip install 'twlcli[raw]'"
        """
        count = sum(suffixes.values())
        names = ", ".join(sorted(suffix[1:].upper() for suffix in suffixes))
        one = count == 1
        files = f"1 file is a {self.name}" if one else f"{count:,} files are {self.name}s"
        why = self._need("needs" if one else "need") if self.extra else "twl does not read"
        return f"{files} ({names}), which {why}"


HEIC = Kind("HEIC photograph", (".heic", ".heif"), "heic", "pillow_heif")
RAW = Kind(
    "RAW photograph",
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
        *(".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2"),
        *(".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    ),
    "raw",
    "rawpy",
)
JPEG_XL = Kind("JPEG XL photograph", (".jxl",), "jxl", "pillow_jxl")
PHOTOSHOP = Kind("Photoshop document", (".psd", ".psb"))

# Kinds that a walk takes only where what reads them is installed. HEIC is taken always: that these
# photographs failed must not be overlooked, since no JPEG lies beside them.
KIND_OF_SUFFIX = (
    dict.fromkeys(RAW.suffixes, RAW)
    | dict.fromkeys(JPEG_XL.suffixes, JPEG_XL)
    | dict.fromkeys(PHOTOSHOP.suffixes, PHOTOSHOP)
)


def summaries(suffixes: Mapping[str, int]) -> Iterator[str]:
    """One line for each kind of the files that were passed over, by suffix."""
    for kind in dict.fromkeys(KIND_OF_SUFFIX.values()):
        mine = Counter({each: n for each, n in suffixes.items() if KIND_OF_SUFFIX[each] is kind})
        if mine:
            yield kind.summary(mine)


@cache
def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None

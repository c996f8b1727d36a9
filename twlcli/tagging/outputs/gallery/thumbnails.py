"""Small pictures beside a gallery, of the images that browsers do not show themselves."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from twlcli.images.each_decoded import each_decoded
from twlcli.images.identity import identify
from twlcli.images.image_file import ImageFile, suffix_of
from twlcli.images.whole import Whole
from twlcli.inference.whole_pictures import whole_picture
from twlcli.io import write_errors, write_whole
from twlcli.parallel import usable_cores

_SHOWN = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".avif")
)
_SIDE = 320  # pixels; the gallery shows 260. About 15 kB for a photograph
_AT_ONCE = 1000  # made together, so that a long run does not leave all to its end
_OWN = re.compile(r"[0-9a-f]{20}\.jpg")


class Thumbnails:
    """The folder `NAME-thumbnails` beside `NAME.html`; made with its first picture.

    Pictures that are there already are kept, and those of images that are in the page no more are
    removed.

    Attributes:
        folder: where they lie.
        wanted: the names of those that the page shows.
    """

    def __init__(self, page: Path) -> None:
        self.folder = page.with_name(f"{page.stem}-thumbnails")
        self.wanted: set[str] = set()
        self._missing: dict[str, ImageFile] = {}

    def name_of(self, file: ImageFile) -> str | None:
        """The picture of an image; None where browsers show the image itself.

        Raises:
            TwlError: pictures cannot be written.
            DeviceError: the processes that decode do not start.
        """
        if file.byte_range is None and suffix_of(str(file.path)) in _SHOWN:
            return None
        facts = (os.fsencode(file.path), file.byte_range, identify(file))
        name = f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:20]}.jpg"
        if name not in self.wanted:
            self.wanted.add(name)
            if not (self.folder / name).is_file():
                self._missing[name] = file
        if len(self._missing) >= _AT_ONCE:
            self._make()
        return name

    def finish(self) -> None:
        """Make what is missing, and remove what is not wanted.

        Raises:
            TwlError: pictures cannot be written.
            DeviceError: the processes that decode do not start.
        """
        self._make()
        if not self.folder.is_dir():
            return
        with write_errors(self.folder):
            for path in self.folder.iterdir():
                if _OWN.fullmatch(path.name) and path.name not in self.wanted:
                    path.unlink(missing_ok=True)
            with suppress(OSError):  # what else is in it keeps it
                self.folder.rmdir()

    def _make(self) -> None:
        missing, self._missing = self._missing, {}
        if not missing:
            return
        with write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        make = partial(whole_picture, whole=Whole(_SIDE))
        count = usable_cores()
        with closing(
            each_decoded(make, missing.values(), workers=count, name="twl-pictures")
        ) as pictures:
            for name, content in zip(missing, pictures, strict=True):
                if content is not None:
                    self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        write_whole(self.folder / name, lambda file: file.write(content))

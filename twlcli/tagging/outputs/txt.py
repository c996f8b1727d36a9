"""Tags in text files beside the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.builder import normal_label
from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.sidecar import (
    SidecarSink,
    check_names,
    check_place,
    read_existing,
    replace_file,
    sidecar_path,
)
from twlcli.tagging.tags import Tags


@dataclass(frozen=True)
class TxtSidecars:
    """Tags in `a.txt` beside `a.jpg`, as captioning tools read them: `dog, person`.

    An image without tags gets an empty file. `read_sidecars` reads the tags back. A text file that
    says something else is not twl's to replace, as nothing in it tells who wrote it: it is left
    as it is, and a failure of that image, unless the run may replace files.

    Attributes:
        names: `stem` for `a.txt`, `full` for `a.jpg.txt`.
    """

    names: str = "stem"
    file: None = None

    def __post_init__(self) -> None:
        check_names(self.names)

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        yield SidecarSink(TxtWriter(names=self.names, force=run.force), run.log)


class TxtWriter:
    """Writes single text files; see `TxtSidecars`."""

    settings = ""

    def __init__(self, *, names: str = "stem", force: bool = False) -> None:
        """Choose how the files are called, and whether those that exist are replaced."""
        self.kind = f"txt:{names}"
        self._names: str = names
        self._force = force

    def path(self, file: ImageFile) -> Path:
        """Where the tags of an image are written."""
        return sidecar_path(file, ".txt", self._names)

    def write(self, file: ImageFile, tags: Tags, *, ours: bool = False) -> None:
        """Write one image's tags.

        Args:
            file: the image.
            tags: its tags.
            ours: the text file that exists is known to be twl's.

        Raises:
            ImageError: the file exists and says something else, cannot be written, or a label
                cannot stand in it.
            TwlError: the disk is full.
        """
        for label in tags.labels:
            _check_label(label)
        content = (", ".join(tags.labels) + "\n").encode() if tags.labels else b""
        path = self.path(file)
        check_place(file, path, self._names)
        existing = read_existing(path)
        if existing == content:
            return
        if existing is not None and not (ours or self._force):
            raise ImageError(
                "its .txt exists already with other content", hint="use {force} to replace it"
            )
        replace_file(path, content)


def _check_label(label: str) -> None:
    """Raise ImageError where a text file would not give the label back."""
    read = [normal_label(tag) for line in label.splitlines() for tag in line.split(",")]
    if read != [normal_label(label)] or not read[0] or _has_surrogate(label):
        raise ImageError(
            f"label {label!a} cannot be written to a .txt, where commas and lines separate tags; "
            "give it another name with an alias in the tag rules"
        )


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)

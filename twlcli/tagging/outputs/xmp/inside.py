"""Tags as keywords inside the photographs themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.exiftool import ExifTool
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.sidecar import SidecarSink, Wrote
from twlcli.tagging.outputs.xmp.merging import merge
from twlcli.tagging.outputs.xmp.photographs import (
    NEW_PACKET,
    check_photograph,
    packet_of,
    replace_packet,
)
from twlcli.tagging.tags import Tags
from twlcli.xmp.embedded import embedded_keywords


@dataclass(frozen=True)
class EmbeddedXmp:
    """Tags as XMP inside the photograph, written by ExifTool, which has to be installed.

    The keywords, and the memory of which twl added, are those of `XmpSidecars`. ExifTool changes a
    copy; the copy becomes the photograph when its pixels, decoded, are the same and the keywords
    were read back from it. Camera raw files are not written into, nor links and tar members.

    Attributes:
        hierarchy: what parts the levels of a label; empty where labels have none.
        restore_deleted: add again what the user deleted.
        keep_original: keep each photograph as it was, as `a.jpg_original`; one that is there
            already stays.
        exiftool: the program's name or path.
    """

    hierarchy: str = "|"
    restore_deleted: bool = False
    keep_original: bool = True
    exiftool: str = "exiftool"
    file: None = None

    needs_files = True

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with ExifTool(self.exiftool) as exiftool:
            writer = EmbeddedWriter(exiftool, self, model=run.model_digest())
            yield SidecarSink(writer, run)


class EmbeddedWriter:
    """Writes into single photographs; see `EmbeddedXmp`."""

    merges = True

    def __init__(self, exiftool: ExifTool, options: EmbeddedXmp, *, model: str) -> None:
        """Set what all photographs share; `model` is what identifies the model."""
        self.kind = f"embedded:{options.hierarchy}"
        self.settings = f"{model} {options.hierarchy}"
        self.insists = options.restore_deleted
        self._exiftool = exiftool
        self._options = options
        self._model = model

    def path(self, file: ImageFile) -> Path:
        """The photograph itself."""
        return file.path

    def write(self, file: ImageFile, tags: Tags, *, ours: bool = False, memo: str = "") -> Wrote:
        """Merge one image's tags into its XMP.

        Raises:
            ImageError: they cannot be written; the photograph is as it was.
            TwlError: the disk is full.
        """
        del ours, memo  # what twl wrote stands in the packet
        if file.byte_range is not None:
            raise ImageError("is in a tar file, into which twl does not write")
        check_photograph(file.path)
        packet = packet_of(self._exiftool, file.path)
        merged = merge(
            packet or NEW_PACKET,
            tags.labels,
            model=self._model,
            hierarchy=self._options.hierarchy,
            elsewhere=lambda: embedded_keywords(file.path),
            began=not packet,
            restore=self.insists,
        )
        if merged == (packet or None):
            return Wrote(changed=False)
        keep_original = self._options.keep_original
        replace_packet(self._exiftool, file.path, merged, keep_original=keep_original)
        return Wrote(changed=True, photograph=True)

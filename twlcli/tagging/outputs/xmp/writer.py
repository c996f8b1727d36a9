"""Tags as keywords in XMP sidecars, merged into what other programs wrote there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.sidecar import (
    SidecarSink,
    Wrote,
    check_names,
    check_place,
    found_path,
    read_existing,
    remove_file,
    replace_file,
    sidecar_path,
)
from twlcli.tagging.outputs.xmp.merging import EMPTY, merge, users_keywords
from twlcli.tagging.tags import Tags
from twlcli.xmp.keywords import Keywords

_FORM = 2  # of what is written; to be raised when the same tags would be written differently


@dataclass(frozen=True)
class XmpSidecars:
    """Tags as XMP beside the image, in `a.jpg.xmp` (darktable, digiKam, Immich) or `a.xmp` (Adobe).

    Every level of a tag stands in `dc:subject`, and the tag itself in `digiKam:TagsList`:
    `animal|dog` as `animal/dog`. If tags have levels, or the user keeps such a list, they stand in
    `lr:hierarchicalSubject` too. Programs that know one of these two read it instead of
    `dc:subject`, so a list that twl begins holds the user's keywords too.

    Keywords that were there stay, in their order; everything else in the file stays byte for byte.
    A new sidecar begins with the keywords inside the photograph, which it would hide. A tag that
    the user has already, in other letter case, Unicode form or below other levels, is not added.

    Under `twl:` the sidecar remembers which entries twl added, and these alone are replaced by
    another run: an image whose tags are gone gets back the file that it had. A keyword of twl's
    that the user deleted is not added again. An image without tags gets no sidecar.

    Attributes:
        names: `full` for `a.jpg.xmp`, `stem` for `a.xmp`. None for the one that is there already,
            and else `a.jpg.xmp`. Where images share a stem, `a.xmp` is that of the raw one alone.
        hierarchy: what parts the levels of a label; empty where labels have none.
        restore_deleted: add again what the user deleted.
    """

    names: str | None = None
    hierarchy: str = "|"
    restore_deleted: bool = False
    file: None = None

    needs_files = True

    def __post_init__(self) -> None:
        check_names(self.names)

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        writer = XmpWriter(
            model=run.model_digest(),
            names=self.names,
            hierarchy=self.hierarchy,
            restore_deleted=self.restore_deleted,
        )
        yield SidecarSink(writer, run)


class XmpWriter:
    """Writes single XMP files; see `XmpSidecars`."""

    def __init__(
        self,
        *,
        model: str,
        names: str | None = None,
        hierarchy: str = "|",
        restore_deleted: bool = False,
    ) -> None:
        """Set what all sidecars share; `model` is what identifies the model, such as its hash."""
        self.kind = f"xmp:{names or 'full'}:{hierarchy}"
        self.settings = f"{model} {hierarchy} {_FORM}"
        self.merges = True
        self.insists = restore_deleted
        self._model = model
        self._names = names
        self._hierarchy = hierarchy

    def path(self, file: ImageFile) -> Path:
        """Where the tags of an image are written."""
        if self._names is None:
            return found_path(file, ".xmp")
        return sidecar_path(file, ".xmp", self._names)

    def write(self, file: ImageFile, tags: Tags, *, ours: bool = False, memo: str = "") -> Wrote:
        """Write or merge one image's tags.

        Raises:
            ImageError: the sidecar is not XMP or cannot be written; it is as it was.
            TwlError: the disk is full.
        """
        del ours, memo  # what twl wrote stands in the file itself
        path = self.path(file)
        check_place(file, path, self._names)
        existing = read_existing(path)
        content = existing or EMPTY  # an empty file is what a power failure leaves of a new one
        merged = merge(
            content,
            tags.labels,
            model=self._model,
            hierarchy=self._hierarchy,
            elsewhere=lambda: _elsewhere(file, path),
            began=not existing,
            restore=self.insists,
        )
        if merged == content or (merged is None and not existing):
            return Wrote(changed=False)
        if merged is None:
            remove_file(path)
        else:
            replace_file(path, merged, file.folders)
        return Wrote(changed=True)


def _elsewhere(file: ImageFile, path: Path) -> Keywords:
    """The keywords that a program shows as long as the sidecar at `path` has none."""
    from twlcli.xmp.embedded import embedded_keywords

    found = {each: list(entries) for each, entries in embedded_keywords(file.path).items()}
    other = found_path(file, ".xmp")
    if other != path:
        with suppress(ImageError):
            for each, entries in users_keywords(read_existing(other) or EMPTY).items():
                found[each] += entries
    return found

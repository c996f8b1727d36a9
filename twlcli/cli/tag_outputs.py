"""What `twl tag` writes, and where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from twlcli.errors import TwlError
from twlcli.io import check_free, partial_path
from twlcli.tagging.outputs.tables import format_of, open_failures, open_writer

if TYPE_CHECKING:
    from twlcli.images.image_file import ImageFile
    from twlcli.labels import Vocabulary
    from twlcli.tagging.journal import Journal
    from twlcli.tagging.outputs.fan_out import Beside, Outputs
    from twlcli.tagging.outputs.sidecars import SidecarNames
    from twlcli.tagging.tags import Failure, Tags, Writer


@dataclass(frozen=True)
class Table:
    """A table of tags: its file, None for the standard output, and its format."""

    path: Path | None
    format_name: str


@dataclass(frozen=True)
class Destinations:
    """All outputs of a run.

    Attributes:
        tables: in the order given; the standard output where no other output is asked for.
        errors: the table of failures.
        gallery: the page of thumbnails.
        txt: whether to write `.txt` sidecars.
        xmp: whether to write XMP sidecars.
        sidecar_names: `full` or `stem`; None is each kind's own default.
        hierarchy: what separates the levels of a label in XMP.
        ordered: rows come in the order of the files, not as they are done.
        force: whether files that exist may be replaced.
    """

    tables: tuple[Table, ...]
    errors: Path | None
    gallery: Path | None
    txt: bool
    xmp: bool
    sidecar_names: SidecarNames | None
    hierarchy: str
    ordered: bool
    force: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are written anew by each run, the tables first."""
        paths = (*(table.path for table in self.tables), self.gallery, self.errors)
        return tuple(path for path in paths if path is not None)

    def default_journal(self, paths: Sequence[Path]) -> Path | None:
        """Beside the first file, or for sidecars alone in the first folder that is tagged."""
        for path in self.files:
            if path != self.errors:
                return path.with_name(path.name + ".journal")
        if self.txt or self.xmp:
            return next((path / ".twl-journal" for path in paths if path.is_dir()), None)
        return None

    def check(self, journal: Path | None) -> None:
        """Raise TwlError where a file cannot be written, as far as that is known beforehand.

        What exists may still turn out to be this run's own, if there is a journal.
        """
        may_be_ours = journal is not None and journal.exists()
        given = [path for path in (*self.files, journal) if path is not None]
        places = [path.parent.resolve() / path.name for path in given]
        for path, place in zip(given, places, strict=True):
            if places.count(place) > 1:
                raise TwlError(f"{path}: two outputs name the same file")
        for path in self.files:
            check_free(path, force=self.force or may_be_ours)
        if [table.path for table in self.tables].count(None) > 1:
            raise TwlError("--out - is given twice")

    def check_ours(self, journal: Journal) -> None:
        """Raise TwlError where a file exists that is not this run's own work."""
        for path in self.files:
            if path.exists() and not self.force and not journal.made(path, partial_path(path)):
                check_free(path, force=False)

    @contextmanager
    def open(
        self,
        *,
        vocabulary: Vocabulary,
        model: Callable[[], str],
        title: str,
        policy: Callable[[Tags], Tags] | None,
        on_failure: Callable[[Failure], None],
    ) -> Iterator[Outputs]:
        """All outputs, which get their names when the block ends well.

        Args:
            vocabulary: every label that can be written.
            model: the model's digest, if it is needed.
            title: of the gallery.
            policy: what becomes of the model's tags.
            on_failure: told of each failure, besides the table.
        """
        from twlcli.tagging.outputs.fan_out import Outputs

        with ExitStack() as stack:
            write: list[Callable[[ImageFile, Tags], None]] = []
            for table in self.tables:
                opened = open_writer(
                    table.path,
                    table.format_name,
                    vocabulary,
                    standard_output=_standard_output() if table.path is None else None,
                )
                write.append(_without_file(stack.enter_context(opened)))
            if self.gallery is not None:
                from twlcli.tagging.outputs.gallery.page import open_gallery

                write.append(stack.enter_context(open_gallery(self.gallery, title=title)).write)
            write_failure = stack.enter_context(open_failures(self.errors))

            def fail(failure: Failure) -> None:
                on_failure(failure)
                write_failure(failure)

            yield Outputs(
                writers=write,
                sidecars=self._sidecars(model) if self.txt or self.xmp else (),
                on_failure=fail,
                policy=policy,
            )

    def _sidecars(self, model: Callable[[], str]) -> list[Beside]:
        from twlcli.tagging.outputs.fan_out import Beside
        from twlcli.tagging.outputs.sidecars import TxtWriter

        found: list[Beside] = []
        if self.txt:
            txt = TxtWriter(names=self.sidecar_names or "stem", force=self.force)
            found.append(
                Beside(
                    txt.kind,
                    settings="",
                    path=txt.path,
                    write=lambda file, tags, ours: txt.write(file, tags, replace=ours),
                )
            )
        if self.xmp:
            from twlcli.tagging.outputs.xmp.writer import XmpWriter

            digest = model()
            xmp = XmpWriter(
                model=digest, names=self.sidecar_names or "full", hierarchy=self.hierarchy
            )
            found.append(
                Beside(
                    xmp.kind,
                    settings=f"{digest} {self.hierarchy}",
                    path=xmp.path,
                    write=lambda file, tags, ours: xmp.write(file, tags),
                )
            )
        return found


def tables_of(outs: Sequence[str], wish: str | None, *, other_outputs: bool) -> tuple[Table, ...]:
    """The tables asked for; the standard output where nothing is.

    Raises:
        TwlError: a format is not known, or a suffix names none.
    """
    if not outs and not other_outputs:
        outs = ["-"]
    paths = [None if out == "-" else Path(out) for out in outs]
    return tuple(Table(path, format_of(path, wish)) for path in paths)


def sidecar_names_of(text: str | None) -> SidecarNames | None:
    """The form of sidecar names.

    Raises:
        TwlError: there is none of that name.
    """
    names: dict[str | None, SidecarNames | None] = {None: None, "full": "full", "stem": "stem"}
    if text not in names:
        raise TwlError(f"--sidecar-names '{text}' is not known; expected full or stem")
    return names[text]


def _standard_output() -> BinaryIO:
    if sys.stdout is None:  # closed by whoever called
        raise TwlError("the standard output is closed; --out FILE writes a file")
    return typer.get_binary_stream("stdout")


def _without_file(writer: Writer) -> Callable[[ImageFile, Tags], None]:
    return lambda file, tags: writer.write(tags)

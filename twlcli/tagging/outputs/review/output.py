"""What a run of `twl review` writes: a page of the images that a model learns most from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.errors import ImageError, TwlError
from twlcli.images.decoding import USUAL, Decoding
from twlcli.images.image_file import ImageFile
from twlcli.io import check_count, check_not_read, open_partial
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.model.spec import ModelSpec
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.review.candidates import Candidates
from twlcli.tagging.outputs.review.page import Reviewed, Said, page_of
from twlcli.tagging.tags import Row, Tags

COUNT = 200  # images in a page unless another number is wanted
MOST = 2000
SHOWN = 24  # labels beside an image, of models with more than `ALL`
ALL = 40
_ROOM = 4096  # images that are remembered beyond those that may be chosen


@dataclass(frozen=True)
class Review:
    """A page of the images whose labels teach the model most, to say which labels they have.

    What is said is saved from the page as `corrections.csv`, which `train` and `read_labels` take
    as `corrections`, or as labels of its own. Images are chosen as `review.candidates.Candidates`
    says. An image that no table of corrections can name is a failure: its name is not UTF-8, or it
    lies in an archive.

    Attributes:
        file: the HTML file; its links to the images are relative to its folder.
        count: how many images to show, at most 2,000.
        labelled: images that are labelled already: they are left out, and other images are named
            as these are, relative to their folder.
        title: of the page.
        decoding: the settings that change the pixels of the pictures in the page.
        workers: processes that decode them; None is one for each core.
        told: called with how many images the page shows, and from how many they were chosen.
    """

    file: Path
    count: int = COUNT
    labelled: Annotations | None = None
    title: str = "images"
    decoding: Decoding = USUAL
    workers: int | None = None
    told: Callable[[int, int], None] = lambda shown, of: None

    needs_logits = True

    needs_files = True

    def __post_init__(self) -> None:
        check_count("count", self.count)
        if self.file.suffix.lower() not in (".html", ".htm"):
            raise TwlError(f"{self.file}: expected a name that ends in .html")
        if self.labelled is not None:
            check_not_read(self.file, [self.labelled.source])
        if self.count > MOST:
            raise TwlError(f"count is {self.count:,}; expected at most {MOST:,}")

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        assert run.spec is not None, "images are chosen by what a model says"
        with open_partial(self.file) as file:
            sink = _ReviewSink(run.spec, self)
            yield sink
            sink.write_page(file)


class _ReviewSink:
    """Remembers what is said of the images that may be chosen."""

    def __init__(self, spec: ModelSpec, wanted: Review) -> None:
        self._spec = spec
        self._wanted = wanted
        self._calibration = calibration_of(spec)
        self._columns = {label: column for column, label in enumerate(spec.vocabulary)}
        self._candidates = Candidates(len(spec.vocabulary), wanted.count)
        self._seen: dict[int, Reviewed] = {}
        self._room = _ROOM
        self._names = _Names(wanted.labelled)

    def write(self, file: ImageFile, row: Row) -> None:
        """Take one row.

        Raises:
            ImageError: no table of corrections can name the image.
        """
        if not isinstance(row, Tags):
            return
        name = self._names.of(file, row.image)
        if name is None:
            return
        assert row.logits is not None, "a run with this output has them"
        certain = probabilities(row.logits[None], self._calibration)[0]
        labels = np.argsort(-certain, kind="stable")
        shown = labels if len(labels) <= ALL else labels[:SHOWN]
        given = {self._columns[label] for label in row.labels}
        self._seen[len(self._candidates)] = Reviewed(
            name,
            file,
            tuple(Said(int(each), float(certain[each]), int(each) in given) for each in shown),
        )
        self._candidates.add(certain)
        if len(self._seen) > self._room:
            may_be_chosen = self._candidates.rows()
            self._seen = {row: self._seen[row] for row in self._seen if row in may_be_chosen}
            self._room = 2 * len(self._seen) + _ROOM

    def write_page(self, file: BinaryIO) -> None:
        """Choose, and write the page of what was chosen."""
        chosen = self._candidates.chosen()
        page = page_of(
            [(self._seen[each.row], each) for each in chosen],
            self._spec.vocabulary,
            title=self._wanted.title,
            of=len(self._candidates),
            folder=self._wanted.file.absolute().parent,
            decoding=self._wanted.decoding,
            workers=self._wanted.workers,
        )
        file.write(page.encode(errors="replace"))
        self._wanted.told(len(chosen), len(self._candidates))


class _Names:
    """How images are called in the page; those that are labelled already have no name."""

    def __init__(self, labelled: Annotations | None) -> None:
        self._root: str | None = None
        self._labelled: frozenset[str] = frozenset()
        if labelled is not None:
            self._root = os.path.realpath(labelled.root)
            self._labelled = frozenset(_place(labelled.path(row)) for row in range(len(labelled)))

    def of(self, file: ImageFile, name: str) -> str | None:
        """The name of an image of a run; None where it is labelled already.

        Raises:
            ImageError: no table can name it.
        """
        if file.byte_range is not None:
            raise ImageError("lies in an archive, where corrections cannot name it; unpack it")
        if self._root is not None:
            place = _place(file.path)
            if place in self._labelled:
                return None
            name = place
            if Path(place).is_relative_to(self._root):
                name = Path(place).relative_to(self._root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ImageError("its name is not UTF-8, and corrections cannot name it") from None
        return name


def _place(path: Path) -> str:
    """Where a file is, over links to its folder."""
    return os.path.join(_folder(str(path.parent)), path.name)  # noqa: PTH118  ten times as fast


@cache
def _folder(path: str) -> str:
    return os.path.realpath(path)

"""`report.html` in a run folder: a page to follow a training in, written anew after each epoch.

It is one file that loads nothing, and loads itself again while the training goes on.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.errors import DivergedError, InterruptedRunError, TwlError
from twlcli.inference.scored import ScoredImages
from twlcli.inference.thumbnails import thumbnails
from twlcli.io import write_whole
from twlcli.labels import PRESENT
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.pages.curves import curve_plots, penalty_plots
from twlcli.pages.plot import Plot, svg
from twlcli.pages.shown_names import shown
from twlcli.pages.templates import as_json, digest, part, render_page, style_of
from twlcli.runs.run_folder import PAGE_NAME
from twlcli.scoring.average_precision import average_precision_per_label, of_labels_with_both
from twlcli.scoring.report import percent
from twlcli.training.examples import FITTED_LABELS, Example, quickly_fitted, worst_examples
from twlcli.training.label_progress import LabelProgress
from twlcli.training.run_page_parts import (
    Column,
    Shown,
    Tile,
    duration,
    epoch_tiles,
    facts_of,
    progress_columns,
    shown_example,
    table_of,
    value_text,
)
from twlcli.training.watcher import Relay, TrainStart, Watcher

_WITHOUT_SCRIPT = 200  # labels that are shown where the browser runs no script
_MOST_NOTES = 50
_LONG = 600  # characters of a note
_PICTURES, _PICTURE_SECONDS = 1 << 20, 5.0  # bytes and time of pictures that are new, at most
_RECENT = 3  # epochs whose mean time tells how long the others will take
_FASTEST, _SLOWEST = 5, 60  # seconds from one loading of the page to the next
_SILENT = 600.0  # seconds without a new page, if not three epochs, that need no explanation


@dataclass(frozen=True)
class _Status:
    """How a training stands, in words; `command` continues one that was stopped."""

    state: Literal["going on", "ended", "stopped"]
    text: str
    command: str = ""


class RunPage(Relay):
    """Watches a training for another watcher, and writes its page.

    A page that cannot be written is said once, and ends no training.

    Args:
        watcher: told everything, and whether the page cannot be written.
        train: the training images.
        validation: the validation images.
    """

    def __init__(self, watcher: Watcher, train: Annotations, validation: Annotations) -> None:
        super().__init__(watcher)
        self._data = validation
        self._trained = train.labels.present_per_label()
        self._start: TrainStart | None = None
        self._notes: list[str] = []
        self._history: list[Mapping[str, Any]] = []
        self._progress = LabelProgress()
        self._examples: tuple[Example, ...] = ()
        self._pictures: dict[int, str] = {}  # by rows of the data
        self._epoch_began = math.nan
        self._seconds: list[float] = []  # that whole epochs took
        self._has_failed = False

    # --- what a training tells --------------------------------------------------------------------

    def began(self, start: TrainStart) -> None:
        """Remember what is trained on what."""
        self._start = start
        super().began(start)

    def noted(self, note: str, hint: str = "") -> None:
        """Remember the note."""
        self._notes.append(note)
        super().noted(note, hint)

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Take the time of an epoch that begins with its first step."""
        self._epoch_began = math.nan if first else time.monotonic()
        super().epoch_began(epoch, steps, first)

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Write the page."""
        seconds = time.monotonic() - self._epoch_began
        self._seconds += [] if math.isnan(seconds) else [seconds]
        self._history.append(record)
        self._write_epochs(self._under_way())
        super().epoch_ended(record, best)

    def scored(
        self,
        scored: ScoredImages,
        by_label: NDArray[np.float64],
        spec: ModelSpec,
        epoch: int,
        *,
        best: bool,
    ) -> None:
        """An epoch was validated, and the page is written when it has ended.

        Args:
            scored: the validation images.
            by_label: average precision of each label, (C,).
            spec: of the model.
            epoch: counted from 1.
            best: whether it is the best so far.
        """
        with self._harmless():
            told = of_labels_with_both(by_label, scored.targets)
            self._progress = self._progress.after(epoch, told, best=best)
            self._examples = ()
            if (scored.targets == PRESENT).any():
                self._examples = worst_examples(*quickly_fitted(scored, spec))

    @contextmanager
    def following(self) -> Iterator[None]:
        """A training by epochs runs inside the block; the page says how it ends."""
        self._write_epochs(self._under_way())
        try:
            yield
        except BaseException as error:
            self._write_epochs(self._stopped(error))
            raise

    def head_found(
        self,
        history: Sequence[Mapping[str, Any]],
        spec: ModelSpec,
        crossed: ScoredImages,
        data: Annotations,
        validation: ScoredImages | None,
    ) -> None:
        """Write the page of a frozen backbone.

        Args:
            history: a record for each penalty.
            spec: with calibration and thresholds.
            crossed: training images, by heads that had not seen them.
            data: those images, where they lie.
            validation: images that the head was not found for; None where there are none.
        """
        with self._harmless():
            columns = [_average_precision("AP, cross-validated", crossed)]
            if validation is None:
                self._data, validation = data, crossed
            else:
                columns.insert(0, _average_precision("AP, validation", validation))
            self._examples = worst_examples(validation, spec)
            best = max(history, key=lambda each: float(each["map_class"]))
            tiles = [
                Tile(f"{name}, cross-validated", percent(best[key]))
                for key, name in (("map_class", "mAP@class"), ("map_sample", "mAP@sample"))
            ]
            tiles.append(Tile("penalty", f"{best['penalty']:.3g}", f"of {len(history)} tried"))
            self._write(
                _Status("ended", "the head is found"), tiles, penalty_plots(history), columns
            )

    # --- a run that is resumed --------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """What the state of a run has to hold, so that the page goes on when it is resumed."""
        examples = [asdict(each) for each in self._examples]
        return {"labels": self._progress.state(), "examples": examples}

    def take_up(self, history: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> None:
        """Go on where a run is resumed.

        Args:
            history: the records of its epochs.
            state: what `kept` gave; of anything else the page goes on without.
        """
        self._history = [*history]
        try:
            progress = LabelProgress.read(state["labels"], labels=len(self._trained))
            self._examples = tuple(Example(**each) for each in state["examples"])
            self._progress = progress
        except (AttributeError, KeyError, TypeError, ValueError):
            """A state of twl 0.1.0."""

    # --- the page ---------------------------------------------------------------------------------

    @property
    def _epochs(self) -> int:
        return self._start.run.recipe.schedule.epochs if self._start else 0

    @property
    def _is_frozen(self) -> bool:
        return self._start is not None and self._start.run.recipe.model.frozen

    @property
    def _per_epoch(self) -> float:
        """Seconds of an epoch; NaN before one has ended."""
        recent = self._seconds[-_RECENT:]
        return sum(recent) / len(recent) if recent else math.nan

    def _under_way(self) -> _Status:
        done, epochs = len(self._history), self._epochs
        if done >= epochs:
            return _Status("ended", f"all {epochs:,} epochs are done" if epochs > 1 else "")
        return _Status("going on", f"epoch {done + 1:,} of {epochs:,} is under way")

    def _stopped(self, error: BaseException) -> _Status:
        assert self._start is not None
        count = len(self._history)
        done = f"{count:,} of {self._epochs:,} epochs {'is' if count == 1 else 'are'} done"
        command = f"twl train --resume {shlex.quote(str(self._start.run.folder))}"
        if isinstance(error, DivergedError):
            command = ""  # it would again
        return _Status("stopped", f"{done}; {shown(_in_words(error), _LONG)}", command)

    def _write_epochs(self, status: _Status) -> None:
        with self._harmless():
            now = datetime.now().astimezone()
            tiles = epoch_tiles(self._history, self._epochs, self._per_epoch, now)
            self._write(status, tiles, curve_plots(self._history), progress_columns(self._progress))

    def _write(
        self, status: _Status, tiles: list[Tile], plots: list[Plot], columns: list[Column]
    ) -> None:
        assert self._start is not None
        path = self._start.run.folder / PAGE_NAME
        support = self._data.labels.present_per_label()
        columns = [
            *columns,
            Column("images", "images", support),
            Column("trained on", "images", self._trained, less=True),
        ]
        table = table_of(self._data.vocabulary, columns, support)
        style = style_of("pages/report.css", "pages/scores.css", "training/run_page.css")
        script = part("training/run_page.js")
        now = datetime.now().astimezone()
        per_epoch = 0.0 if math.isnan(self._per_epoch) else self._per_epoch
        name = shown(self._start.run.folder.name, 80)
        page = render_page(
            "training/run_page.html",
            title=name if self._is_frozen else f"{len(self._history)}/{self._epochs} {name}",
            style=style,
            policy=f"img-src data:; style-src {digest(style)}; script-src {digest(script)}",
            name=name,
            status=status,
            written=f"{now:%Y-%m-%d %H:%M:%S %Z}",
            written_at=round(now.timestamp()),
            reload=round(min(max(per_epoch / 4, _FASTEST), _SLOWEST)),
            silent=round(max(_SILENT, 3 * per_epoch)),
            per_epoch=duration(per_epoch) if per_epoch else "",
            facts=facts_of(self._start),
            tiles=tiles,
            plots=plots,
            svg=svg,
            table=table,
            label_count=len(self._data.vocabulary),
            rows_without_script=table["labels"][:_WITHOUT_SCRIPT],
            value_text=value_text,
            examples=self._shown_examples(path.absolute().parent),
            fitted_labels=FITTED_LABELS,
            is_frozen=self._is_frozen,
            notes=[shown(each, _LONG) for each in self._notes[-_MOST_NOTES:]],
            # JSON in which every `<` is an escape, and twl's own script.
            values=Markup(as_json(table)),  # noqa: S704
            script=Markup(script),  # noqa: S704
        )
        write_whole(path, lambda file: file.write(page.encode(errors="replace")))

    def _shown_examples(self, folder: Path) -> list[Shown]:
        """The examples with their pictures, which are made once for each image."""
        assert self._start is not None
        image = self._start.run.recipe.image
        wanted = {each.image for each in self._examples}
        names = enumerate(self._data.images if wanted else ())  # which may be millions
        row_of = {name: row for row, name in names if name in wanted}
        rows = {row_of[each.image]: each for each in self._examples if each.image in row_of}
        self._pictures = {row: self._pictures[row] for row in rows if row in self._pictures}
        self._pictures |= thumbnails(
            self._data,
            [row for row in rows if row not in self._pictures],
            Preprocessing(resize=image.resize, crop=image.size),
            most_bytes=_PICTURES,
            most_seconds=_PICTURE_SECONDS,
        )
        return [
            shown_example(each, self._data, row, folder, self._pictures.get(row, ""))
            for row, each in rows.items()
        ]

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """What goes wrong inside the block is said, the first time."""
        try:
            yield
        except Exception as error:  # a page is not worth a training, whatever is wrong with it
            problem = _in_words(error)
        else:
            return
        if not self._has_failed:
            self._has_failed = True
            self.noted(f"{PAGE_NAME} cannot be written: {problem}; the training goes on without it")


def _in_words(error: BaseException) -> str:
    return str(error) if isinstance(error, TwlError | InterruptedRunError) else repr(error)


def _average_precision(heading: str, scored: ScoredImages) -> Column:
    by_label = average_precision_per_label(scored.logits, scored.targets)
    return Column(heading, "percent", of_labels_with_both(by_label, scored.targets).tolist())

"""What the page of a run shows: its facts, figures, table of labels and examples, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.labels import Vocabulary
from twlcli.pages.addresses import folder_address, quoted
from twlcli.pages.shown_names import shown
from twlcli.recipe import Recipe
from twlcli.scoring.report import percent
from twlcli.training.examples import Example
from twlcli.training.label_progress import LabelProgress
from twlcli.training.watcher import TrainStart

MOST_LABELS = 5000  # in a page; of more, those that most images have
_SHORT = 48  # characters of a label beside a picture
_HOUR, _DAY = 3600, 86400
_SCORES = {"map_class": "mAP@class", "map_sample": "mAP@sample", "top_1": "top-1"}


@dataclass(frozen=True)
class Tile:
    """A figure at a glance."""

    name: str
    value: str
    below: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table of labels.

    Attributes:
        heading: of it.
        kind: `percent` of values in 0..1, `change` of such values, or `images`, a number of them.
        values: of each label, NaN where there is none.
        less: whether a phone leaves it out.
    """

    heading: str
    kind: Literal["percent", "change", "images"]
    values: Sequence[float] | NDArray[np.integer]
    less: bool = False


@dataclass(frozen=True)
class Shown:
    """An example as the page shows it: all texts, and the address of its image."""

    label: str
    why: str
    has: str
    gets: str
    image: str
    address: str
    picture: str


def facts_of(start: TrainStart) -> dict[str, str]:
    """What is trained on what, by which recipe, in short."""
    recipe = start.run.recipe
    held_out = ", held out of them" if start.held_out else ""
    many = f", {start.ranks} ranks" if start.ranks > 1 else ""
    facts = {
        "run": str(start.run.folder),
        "data": start.read,
        "images": f"{start.training:,} to train on, {start.validation:,} to validate{held_out}",
        "network": _network(recipe),
        "training": _training(recipe),
        "device": f"{start.device} in {start.precision}{many}",
    }
    return {name: shown(text, 400) for name, text in facts.items()}


def _network(recipe: Recipe) -> str:
    model = recipe.model
    head = "" if model.head == "linear" else f" with the head {model.head}"
    weights = {"none": "random weights", "default": "torchvision's weights"}
    begins = weights.get(model.weights, f"the weights {model.weights}")
    return f"{model.backbone}{head} at {recipe.image.size} pixels, beginning with {begins}"


def _training(recipe: Recipe) -> str:
    if recipe.model.frozen:
        return f"a linear head on frozen features, found exactly, loss {recipe.loss.name}"
    schedule, optimizer = recipe.schedule, recipe.optimizer
    return (
        f"{schedule.epochs:,} epochs in batches of {schedule.batch_size:,}, loss "
        f"{recipe.loss.name}, {optimizer.name} at a learning rate of {optimizer.learning_rate:g}"
    )


def epoch_tiles(
    history: Sequence[Mapping[str, Any]], epochs: int, per_epoch: float, now: datetime
) -> list[Tile]:
    """Where a training by epochs stands.

    Args:
        history: the records of the epochs that have ended.
        epochs: how many there will be.
        per_epoch: the seconds that one takes; NaN where that is not known.
        now: the time.
    """
    tiles = [Tile("epochs done", f"{len(history):,} of {epochs:,}")]
    if not history:
        return tiles
    last = history[-1]
    scored = [each for each in history if "map_class" in each]
    ranked = [each for each in scored if not math.isnan(each["map_class"])]
    if scored:
        latest = scored[-1]
        best = max(ranked, key=lambda each: float(each["map_class"]), default=latest)
        for key, name in _SCORES.items():
            if key in latest:
                below = "the best so far"
                if best is not latest:
                    below = f"best {percent(best[key])}, epoch {best['epoch']}"
                below = f"epoch {latest['epoch']}; {below}"
                tiles.append(Tile(name, percent(latest[key]), below))
    if last["loss"] is not None:
        tiles.append(Tile("training loss", f"{last['loss']:.4g}"))
    if not math.isnan(per_epoch):
        rate = last.get("images_per_second")
        below = "" if rate is None else f"{rate:,.0f} images/s in training"
        tiles.append(Tile("time per epoch", duration(per_epoch), below))
        if left := epochs - len(history):
            seconds = left * per_epoch
            tiles.append(
                Tile("expected end", _clock(now, seconds), f"in about {duration(seconds)}")
            )
    return tiles


def _clock(now: datetime, seconds: float) -> str:
    """The time of day in some seconds, with the date where it is not within a day."""
    then = now + timedelta(seconds=seconds)
    return f"{then:%H:%M}" if seconds < _DAY / 2 else f"{then:%d %b %H:%M}"


def duration(seconds: float) -> str:
    """A time in its two largest units.

    Example:
        >>> [duration(each) for each in (0.4, 59.7, 200, 3599.9, 8000, 200_000)]
        ['0.4 s', '1 min', '3 min 20 s', '1 h', '2 h 13 min', '2 d 7 h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        parts = (whole // 60, "min"), (whole % 60, "s")
    elif whole < _DAY:
        parts = (whole // _HOUR, "h"), (whole % _HOUR // 60, "min")
    else:
        parts = (whole // _DAY, "d"), (whole % _DAY // _HOUR, "h")
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def progress_columns(progress: LabelProgress) -> list[Column]:
    """Average precision of each label after the last epoch, after the best, and how it changed."""
    last, before, best = progress.last, progress.before, progress.best
    if not last.epoch:
        return []
    columns = [Column(f"AP, epoch {last.epoch}", "percent", last.values)]
    if before.epoch:
        changes = [progress.change(column) for column in range(len(last.values))]
        columns.append(Column(f"since epoch {before.epoch}", "change", changes))
    if best.epoch:
        columns.append(Column(f"AP, best epoch {best.epoch}", "percent", best.values, less=True))
    return columns


def table_of(
    vocabulary: Vocabulary, columns: Sequence[Column], support: NDArray[np.integer]
) -> dict[str, Any]:
    """The table as the page's script draws it: the labels that most images have first.

    Args:
        vocabulary: C labels.
        columns: what is told of them.
        support: how many images have each, (C,).
    """
    order = np.argsort(-support, kind="stable")[:MOST_LABELS].tolist()
    names = [vocabulary.names[label] for label in order]
    return {
        "columns": [
            {"heading": each.heading, "kind": each.kind, "less": each.less} for each in columns
        ],
        "labels": [
            [shown(name), *(_value(each.kind, each.values[label]) for each in columns)]
            for label, name in zip(order, names, strict=True)
        ],
        "whole": {place: name for place, name in enumerate(names) if shown(name) != name},
    }


def _value(kind: str, value: float) -> float | None:
    """A value as it is shown: percentages with two decimals, None for NaN."""
    if kind == "images":
        return int(value)
    return None if math.isnan(value) else round(100 * value, 2) + 0.0  # not -0


def value_text(kind: str, value: float | None) -> str:
    """A value of the table as text, as the script writes it.

    Example:
        >>> value_text("percent", 12.5), value_text("change", -3.0), value_text("images", 1200)
        ('12.50', '−3.00', '1,200')
    """
    if value is None:
        return "–"
    if kind == "images":
        return f"{value:,}"
    return f"{value:{'+' if kind == 'change' else ''}.2f}".replace("-", "−")


def shown_example(
    example: Example, annotations: Annotations, row: int, folder: Path, picture: str
) -> Shown:
    """An example with its picture, and the address of its image as seen from a folder."""
    path = annotations.path(row)
    certain = f"{example.probability:.2f}"
    return Shown(
        shown(example.label, _SHORT),
        f"given with {certain}, but absent" if example.given else f"missed: only {certain}",
        _listed([shown(name, _SHORT) for name in example.has], example.more_had),
        _listed(
            [f"{shown(name, _SHORT)} {value:.2f}" for name, value in example.gets], example.more_got
        ),
        shown(example.image),
        folder_address(path.parent.absolute(), folder) + quoted(path.name),
        picture,
    )


def _listed(names: Sequence[str], more: int) -> str:
    return ", ".join([*names, *([f"and {more:,} more"] if more else [])]) or "nothing"

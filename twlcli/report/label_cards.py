"""What the page's script draws the cards of labels from: compact values, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.images.decoding import USUAL, Decoding
from twlcli.inference.thumbnails import thumbnails
from twlcli.labels import ABSENT, PRESENT, UNKNOWN
from twlcli.pages.addresses import folder_address, quoted
from twlcli.pages.shown_names import shown
from twlcli.report.counts import grid_of, packed, places_on, steps_for
from twlcli.report.evaluated import Evaluated
from twlcli.report.pairs import beside, instead
from twlcli.scoring.metrics import CALIBRATION_BINS, calibration_sums, count_decisions
from twlcli.scoring.mistakes import Mistakes, worst_mistakes

MOST_LABELS = 5000  # in a page; of more, those that most images have
_MOST_EXAMPLES = 2400  # mistakes that a page names; at least one of each kind of a label
_MOST_PER_LABEL = 8  # of each kind
_MOST_PICTURES = 8 << 20  # bytes
_SHOWN_TRUTH = 8  # labels that are named beside an example


@dataclass(frozen=True)
class Cards:
    """The script's values.

    Attributes:
        columns: the labels in the page, in the order of the vocabulary.
        table: what the table shows.
        details: what cards show besides, one for each label.
        examples: the images that cards show.
        pictures: how many of them have a picture.
    """

    columns: tuple[int, ...]
    table: dict[str, Any]
    details: list[dict[str, Any]]
    examples: list[list[Any]]
    pictures: int


def cards_of(
    evaluated: Evaluated,
    folder: Path,
    *,
    trained: NDArray[np.int64] | None = None,
    decoding: Decoding = USUAL,
    workers: int | None = None,
) -> Cards:
    """Collect what the cards of all labels show.

    Args:
        evaluated: the evaluation.
        folder: where the page will lie; links to images lead from there.
        trained: in how many training images each label was, (C,); None where it is not known.
        decoding: the settings that change pixels of thumbnails.
        workers: processes that decode; None is one for each core.
    """
    columns, vocabulary = columns_shown(evaluated), evaluated.spec.vocabulary
    steps = steps_for(len(columns))
    mistakes = _mistakes(evaluated, columns)
    rows = _by_importance(mistakes)
    row_of_name = {name: row for row, name in enumerate(evaluated.annotations.images)}
    row_of = [row_of_name[name] for name in evaluated.scored.images]
    pictures = thumbnails(
        evaluated.annotations,
        [row_of[row] for row in rows],
        evaluated.spec.preprocessing,
        most_bytes=_MOST_PICTURES,
        decoding=decoding,
        workers=workers,
    )
    place_of_column = {column: place for place, column in enumerate(columns)}
    place_of_row = {row: place for place, row in enumerate(rows)}
    grid = grid_of(steps)
    details = [
        _detail(evaluated, column, grid, each, place_of_column, place_of_row)
        for column, each in zip(columns, mistakes, strict=True)
    ]
    examples = [
        _example(evaluated, row, row_of[row], folder, pictures, place_of_column) for row in rows
    ]
    table = {
        "steps": steps,
        "images": evaluated.evaluation.images,
        "labels": _table_rows(evaluated, columns, trained),
        "whole_names": {
            place: name
            for place, name in enumerate(vocabulary.names[column] for column in columns)
            if shown(name) != name
        },
    }
    return Cards(columns, table, details, examples, len(pictures))


def columns_shown(evaluated: Evaluated) -> tuple[int, ...]:
    """The labels of the page: all, or those of `MOST_LABELS` that most images have."""
    support = np.array([row.support for row in evaluated.evaluation.labels])
    order = np.argsort(-support, kind="stable")[:MOST_LABELS]
    return tuple(sorted(order.tolist()))


def _table_rows(
    evaluated: Evaluated, columns: Sequence[int], trained: NDArray[np.int64] | None
) -> list[list[Any]]:
    """What the table shows of each label.

    Name, AP, correct, given, support, unknown, threshold, unknown but given, training images, and
    the ends of AP's interval.
    """
    targets = evaluated.scored.targets
    counts = count_decisions(evaluated.given, targets)
    above = evaluated.probabilities >= evaluated.thresholds
    unknown_given = np.count_nonzero(above & (targets == UNKNOWN), axis=0)
    return [
        [
            shown(label.label),
            None if np.isnan(label.average_precision) else label.average_precision,
            int(counts.correct[column]),
            int(counts.given[column]),
            label.support,
            label.unknown,
            label.threshold,
            int(unknown_given[column]),
            None if trained is None else int(trained[column]),
            label.interval and [round(end, 4) for end in label.interval],
        ]
        for column, label in zip(
            columns, (evaluated.evaluation.labels[each] for each in columns), strict=True
        )
    ]


def _mistakes(evaluated: Evaluated, columns: Sequence[int]) -> list[Mistakes]:
    most = min(_MOST_PER_LABEL, max(1, _MOST_EXAMPLES // (2 * len(columns))))
    return [
        worst_mistakes(
            evaluated.probabilities[:, column],
            evaluated.scored.targets[:, column],
            evaluated.thresholds[column],
            most=most,
        )
        for column in columns
    ]


def _by_importance(mistakes: Sequence[Mistakes]) -> list[int]:
    """The rows of all mistakes, each once: the worst of every label before the second of any."""
    kinds = [kind for each in mistakes for kind in (each.given, each.missed)]
    rounds = zip_longest(*kinds)
    return list(dict.fromkeys(row for each in rounds for row in each if row is not None))


def _detail(
    evaluated: Evaluated,
    column: int,
    grid: NDArray[np.float32],
    mistakes: Mistakes,
    place_of_column: dict[int, int],
    place_of_row: dict[int, int],
) -> dict[str, Any]:
    """What a label's card shows. Labels and images are named by their places in the page.

    `present`, `absent`, `unknown`: probabilities of such images, as `packed`. `bins`: see `_bins`.
    `beside`: label, images in the data, images as predicted. `instead`: label, images. `wrong` and
    `missed`: image, probability.
    """
    certain = np.ascontiguousarray(evaluated.probabilities[:, column])
    targets = evaluated.scored.targets[:, column]
    places = places_on(grid, certain)

    def examples(rows: Sequence[int]) -> list[list[float]]:
        return [[place_of_row[row], float(certain[row])] for row in rows]

    return {
        "present": packed(places[targets == PRESENT]),
        "absent": packed(places[targets == ABSENT]),
        "unknown": packed(places[targets == UNKNOWN]),
        "bins": _bins(certain, targets),
        "beside": [
            [place_of_column[each.column], each.in_data, each.in_predictions]
            for each in beside(evaluated, column)
            if each.column in place_of_column
        ],
        "instead": [
            [place_of_column[other], count]
            for other, count in instead(evaluated, column)
            if other in place_of_column
        ],
        "wrong": examples(mistakes.given),
        "missed": examples(mistakes.missed),
    }


def _bins(certain: NDArray[np.float32], targets: NDArray[np.int8]) -> list[list[float]]:
    """Of each bin of the calibration error: mean probability, share present, images."""
    present, expected, counts = calibration_sums(
        certain[:, None], targets[:, None], bins=CALIBRATION_BINS
    )
    return [
        [round(expected[each] / counts[each], 4), round(present[each] / counts[each], 4), int(n)]
        for each, n in enumerate(counts.tolist())
        if n
    ]


def _example(
    evaluated: Evaluated,
    row: int,
    annotated: int,
    folder: Path,
    pictures: dict[int, str],
    place_of_column: dict[int, int],
) -> list[Any]:
    """An image: its name, its address, its picture, the labels that it has, and its whole name.

    The last is left out where the name is shown whole.
    """
    path = evaluated.annotations.path(annotated)
    truth = [
        place_of_column[column]
        for column in np.flatnonzero(evaluated.present[row])[:_SHOWN_TRUTH].tolist()
        if column in place_of_column
    ]
    address = folder_address(path.parent.absolute(), folder) + quoted(path.name)
    name = evaluated.scored.images[row]
    whole = [] if shown(name) == name else [name]
    return [shown(name), address, pictures.get(annotated, ""), truth, *whole]

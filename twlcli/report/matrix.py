"""Which labels go together, drawn as two matrices: in the data, and in what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twlcli.pages.plot import text_width
from twlcli.pages.shown_names import shown
from twlcli.report.evaluated import Evaluated
from twlcli.report.pairs import Pair, most_frequent, pairs_of

MOST_LABELS = 30
MOST_DIFFERENCES = 10
_NAME = 18  # characters of a label's name at the edges
_WIDTH, _SMALLEST, _LARGEST = 430, 14, 24  # pixels: of all squares together, and of one
_LEAST = 0.005  # a share that is drawn


@dataclass(frozen=True)
class Cell:
    """A square: where, how strong, and what it says on hovering."""

    x: float
    y: float
    strength: str
    title: str


@dataclass(frozen=True)
class Matrix:
    """Shares of pairs of labels, drawn."""

    heading: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrices:
    """What is drawn.

    Attributes:
        names: of the labels, from the top and from the left.
        edge: pixels that the names take.
        size: pixels of a whole matrix.
        cell: pixels of one square.
        drawn: in the data, and in the predictions.
        differences: the pairs in which the two differ most, by their names and shares.
    """

    names: tuple[str, ...]
    edge: float
    size: float
    cell: int
    drawn: tuple[Matrix, ...]
    differences: tuple[tuple[str, str, Pair], ...]


def matrices_of(evaluated: Evaluated) -> Matrices | None:
    """The matrices of the most frequent labels; None of fewer than two."""
    columns = most_frequent(evaluated, MOST_LABELS)
    if len(columns) < 2:
        return None
    labels = evaluated.evaluation.labels
    place = {column: number for number, column in enumerate(columns)}
    pairs = pairs_of(evaluated, columns)
    names = tuple(shown(labels[column].label, _NAME) for column in columns)
    cell = min(_LARGEST, max(_SMALLEST, _WIDTH // len(columns)))
    edge = max(map(text_width, names)) + 6
    whole = {column: shown(labels[column].label, 40) for column in columns}

    def drawn(heading: str, shares: Sequence[float]) -> Matrix:
        return Matrix(
            heading,
            tuple(
                Cell(
                    edge + cell * place[pair.second],
                    edge + cell * place[pair.first],
                    f"{share:.2f}",
                    f"{share:.0%} of {whole[pair.first]} with {whole[pair.second]}",
                )
                for pair, share in zip(pairs, shares, strict=True)
                if share >= _LEAST
            ),
        )

    order = sorted(pairs, key=lambda pair: -abs(pair.difference))[:MOST_DIFFERENCES]
    return Matrices(
        names,
        edge,
        edge + cell * len(names) + 1,
        cell,
        (
            drawn("in the data", [pair.in_data for pair in pairs]),
            drawn("in the predictions", [pair.in_predictions for pair in pairs]),
        ),
        tuple(
            (whole[pair.first], whole[pair.second], pair)
            for pair in order
            if abs(pair.difference) >= _LEAST
        ),
    )

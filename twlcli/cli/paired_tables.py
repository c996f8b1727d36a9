"""What `twl eval` prints of several models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from twlcli.cli.tables import SHOWN_AT_EACH_END, LabelOrder
from twlcli.comparison.report import signed
from twlcli.paired.report import difference_rows, interval_text, ranked_labels, score_rows
from twlcli.paired.result import (
    ImageDifference,
    LabelDecision,
    LabelDifference,
    ModelDifference,
    PairedEvaluation,
)
from twlcli.scoring.report import percent

IMAGES_SHOWN = 5
_DECISIONS_SHOWN = 4


def scores_table(paired: PairedEvaluation) -> Table:
    """A column for each model; in percent."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in paired.names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for row in score_rows(paired):
        table.add_row(row.name, *row.values, "0 is best" if row.low_is_good else "")
    return table


def differences_table(difference: ModelDifference) -> Table:
    """The differences of one model to the first, in points of percent."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("difference", "95 % interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in difference_rows(difference):
        table.add_row(row.name, row.value, row.interval, row.p, row.verdict)
    return table


def labels_table(
    difference: ModelDifference, names: Sequence[str], *, order: LabelOrder, whole: bool
) -> Table:
    """The labels that differ by more than chance, or all: the largest gain first, or by name.

    Args:
        difference: of a model to the first.
        names: of the first and of the model.
        order: of the labels; `ap` is by the difference.
        whole: all labels.
    """
    labels = [each for each in ranked_labels(difference) if whole or each.difference.significant]
    if order == "name":
        labels.sort(key=lambda each: each.label)
    table = Table(box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    table.add_column("images", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for heading in ("difference", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    if whole:
        table.add_column("", no_wrap=True)
    left_out = 0 if whole else len(labels) - 2 * SHOWN_AT_EACH_END
    for position, each in enumerate(labels):
        if left_out <= 0 or not 0 <= position - SHOWN_AT_EACH_END < left_out:
            table.add_row(*_label_cells(each, whole=whole))
        elif position == SHOWN_AT_EACH_END:
            table.add_row(f"… {left_out:,} more; --all shows them")
    return table


def _label_cells(label: LabelDifference, *, whole: bool) -> Iterator[str]:
    yield from (label.label, f"{label.support:,}", percent(label.first), percent(label.value))
    yield from (signed(label.difference.value), interval_text(label.difference))
    if whole:
        yield "more than chance" if label.difference.significant else ""


def images_table(difference: ModelDifference, names: Sequence[str]) -> Table:
    """The images in which two models differ most, and what only one of them gives."""
    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in names:
        table.add_column(f"{name} alone", overflow="fold")
    for each in difference.disagreement.worst[:IMAGES_SHOWN]:
        table.add_row(each.image, *(_given(each, by_other=side) for side in (False, True)))
    return table


def _given(image: ImageDifference, *, by_other: bool) -> str:
    own = [each for each in image.labels if each.given == by_other]
    more = f", … {len(own) - _DECISIONS_SHOWN:,} more" if len(own) > _DECISIONS_SHOWN else ""
    return ", ".join(map(_decision, own[:_DECISIONS_SHOWN])) + more


def _decision(each: LabelDecision) -> str:
    rightness = {True: "right", False: "wrong", None: "unknown"}[each.present]
    return f"{each.label} ({rightness})"

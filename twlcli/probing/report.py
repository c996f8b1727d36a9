"""How linear evaluation is shown, in the terminal and on its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from twlcli.probing.result import HEADINGS, SELECTIONS, ProbeResult, SelectionName
from twlcli.scoring.report import percent

CHOSEN_ON = {"paper": "test", "validation": "held-out training"}  # images

Row = tuple[str, ...]


def tables_of(results: Sequence[ProbeResult]) -> list[tuple[tuple[str, ...], list[ProbeResult]]]:
    """The headings of the scores, and the results that have these scores."""
    kinds = dict.fromkeys(result.score_names for result in results)
    return [
        (
            tuple(HEADINGS[name] for name in names),
            [result for result in results if result.score_names == names],
        )
        for names in kinds
    ]


def rows_of(results: Sequence[ProbeResult]) -> list[Row]:
    """Two rows for each result: set, model, choice, λ, two scores, and the norm of the gradient.

    The results of a set stand together, in the order in which the models were named.
    """
    sets = list(dict.fromkeys(result.data for result in results))
    short = short_names([result.model for result in results])
    rows = []
    for result in sorted(results, key=lambda each: sets.index(each.data)):
        for name in SELECTIONS:
            chosen = result.selected(name)
            rows.append(
                (
                    result.data,
                    short[result.model],
                    name,
                    f"{chosen.penalty:.3g}",
                    *(percent(chosen.scores[each]) for each in result.score_names),
                    f"{chosen.gradient_norm:.1e}" + ("" if chosen.converged else " not converged"),
                )
            )
    return rows


def short_names(models: Sequence[str]) -> dict[str, str]:
    """Models without the folders of their weights, as far as they stay different.

    Example:
        >>> short_names(["resnet50=weights/a.pth", "runs/photos"])
        {'resnet50=weights/a.pth': 'resnet50=a.pth', 'runs/photos': 'runs/photos'}
    """
    short = {}
    for model in models:
        backbone, equals, weights = model.partition("=")
        short[model] = f"{backbone}={PurePath(weights).name}" if equals else model
    return short if len(set(short.values())) == len(short) else {model: model for model in models}


def notes(results: Sequence[ProbeResult]) -> list[str]:
    """What has to be said of the figures, one sentence each."""
    said, short = [], short_names([result.model for result in results])
    for result in results:
        where = f"{short[result.model]} on {result.data}"
        off = sum(not each.converged for each in result.swept)
        if off:
            said.append(f"{where}: {off} of {len(result.swept)} heads have not converged.")
        for name in SELECTIONS:
            place, last = result.swept.index(result.selected(name)), len(result.swept) - 1
            if last and place == 0 and _differ(result, name, 0, 1):
                said.append(_at_the_end(where, "strongest", name))
            elif last and place == last:
                said.append(_at_the_end(where, "weakest", name))
        if result.unreadable:
            said.append(f"{where}: {result.unreadable:,} images cannot be read and take no part.")
    return said


def _differ(result: ProbeResult, name: SelectionName, first: int, second: int) -> bool:
    """Whether two penalties differ in the score that chooses."""
    one, other = (result.chosen_by(name, result.swept[place]) for place in (first, second))
    return one != other


def _at_the_end(where: str, end: str, name: SelectionName) -> str:
    return (
        f"{where}: the {end} penalty is the best on the {CHOSEN_ON[name]} images; "
        "one beyond it may be better."
    )

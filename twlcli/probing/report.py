"""How linear evaluation is shown, in the terminal and on its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from twlcli.labels import counted
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
    """Models with as many folders of their weights as it takes to tell them apart.

    Example:
        >>> short_names(["resnet50=weights/a.pth", "runs/photos"])
        {'resnet50=weights/a.pth': 'resnet50=a.pth', 'runs/photos': 'runs/photos'}
        >>> list(short_names(["r=/w/one/a.pth", "r=/w/two/a.pth", "r=/w/two/b.pth"]).values())
        ['r=one/a.pth', 'r=two/a.pth', 'r=b.pth']
    """
    endings = {model: _endings(model) for model in dict.fromkeys(models)}
    counts = Counter(ending for each in endings.values() for ending in each)
    return {
        model: next((ending for ending in each if counts[ending] == 1), model)
        for model, each in endings.items()
    }


def _endings(model: str) -> list[str]:
    """A model with ever more of the path to its weights."""
    backbone, equals, weights = model.partition("=")
    if not equals:
        return [model]
    parts = PurePath(weights).parts
    return [f"{backbone}={PurePath(*parts[-count:])}" for count in range(1, len(parts) + 1)]


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
            said.append(f"{where}: {left_out(result.unreadable)}.")
    return said


def left_out(count: int) -> str:
    """What is said of so many images that cannot be read.

    Example:
        >>> left_out(1), left_out(2000)
        ('1 image cannot be read and takes no part', '2,000 images cannot be read and take no part')
    """
    one = "image cannot be read and takes no part"
    return counted(count, one, "images cannot be read and take no part")


def _differ(result: ProbeResult, name: SelectionName, first: int, second: int) -> bool:
    """Whether two penalties differ in the score that chooses."""
    one, other = (result.chosen_by(name, result.swept[place]) for place in (first, second))
    return one != other


def _at_the_end(where: str, end: str, name: SelectionName) -> str:
    return (
        f"{where}: the {end} penalty is the best on the {CHOSEN_ON[name]} images; "
        "one beyond it may be better."
    )

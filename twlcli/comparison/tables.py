"""The table of a comparison for a paper or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from twlcli.comparison.report import About, dry_run, mean_and_deviation, notes, p_value, to_the_best
from twlcli.comparison.result import Comparison, Result

_SCORES = ("map_class", "map_sample")
_BOLD = "Bold: the best scores, and the differences to the best that are significant."
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")
_TEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
_TEX_POWER = re.compile(r"e([+-]\d+)")


@dataclass(frozen=True)
class _Cell:
    """A number in a table."""

    text: str
    bold: bool = False


def markdown(comparison: Comparison, about: About) -> str:
    """The table as Markdown, with notes below it."""
    head = _heading(comparison)
    table = [
        _markdown_row(map(_markdown, head)),
        _markdown_row([":--", *["--:"] * (len(head) - 1)]),
        *(
            _markdown_row([_markdown(result.name), *map(_markdown_cell, cells)])
            for result, cells in _rows(comparison)
        ),
    ]
    return "\n".join([*table, "", *map(_markdown, _notes(comparison, about)), ""])


def latex(comparison: Comparison, about: About) -> str:
    r"""The table as a LaTeX `tabular` with booktabs' rules, for a paper to read by `\input`.

    Caption and label are the paper's own; what a caption has to say stands in comments.
    """
    head = _heading(comparison)
    comments = [
        about.title,
        about.command,
        *_notes(comparison, about),
        "Needs the package booktabs.",
    ]
    lines = [
        *("% " + " ".join(comment.split()) for comment in comments if comment),
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        _tex_row(map(_tex, head)),
        r"\midrule",
        *(
            _tex_row([_tex(result.name), *map(_tex_cell, cells)])
            for result, cells in _rows(comparison)
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*lines, ""])


def _heading(comparison: Comparison) -> tuple[str, ...]:
    pairs = ("mAP@class to the best", "adjusted p") if comparison.differences else ()
    return ("loss", comparison.tuned, "mAP@class", "mAP@sample", *pairs)


def _rows(comparison: Comparison) -> list[tuple[Result, list[_Cell]]]:
    """The candidates with their numbers, the best first."""
    best = [max(getattr(each, key).mean for each in comparison.results) for key in _SCORES]
    return [(result, _cells(comparison, result, best)) for result in comparison.results]


def _cells(comparison: Comparison, result: Result, best: list[float]) -> list[_Cell]:
    scores = [getattr(result, key) for key in _SCORES]
    several = len(comparison.results) > 1
    cells = [
        _Cell(f"{result.chosen:.3g}"),
        *(
            _Cell(mean_and_deviation(score), several and score.mean == highest)
            for score, highest in zip(scores, best, strict=True)
        ),
    ]
    difference = comparison.to_best(result.name)
    if difference:
        gap = difference.map_class
        return [*cells, _Cell(to_the_best(gap), gap.significant), _Cell(p_value(gap.adjusted_p))]
    return [*cells, *[_Cell("")] * (2 if several else 0)]


def _notes(comparison: Comparison, about: About) -> list[str]:
    return [
        *([dry_run(about.limit)] if about.limit else []),
        *notes(comparison),
        *([_BOLD] if comparison.differences else []),
    ]


# --- Markdown -------------------------------------------------------------------------------------


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _markdown_cell(cell: _Cell) -> str:
    return f"**{cell.text}**" if cell.bold else cell.text


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- LaTeX ----------------------------------------------------------------------------------------


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))


def _tex_cell(cell: _Cell) -> str:
    if cell.text in ("", "–"):
        return cell.text.replace("–", "--")
    text = cell.text.replace("−", "-").replace("±", r"\pm").replace(" [", r"\ [")
    text = _TEX_POWER.sub(lambda power: rf"\cdot 10^{{{int(power[1])}}}", text)
    return rf"$\mathbf{{{text}}}$" if cell.bold else f"${text}$"


def _tex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"

"""Linear evaluation as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from twlcli.io import write_whole
from twlcli.pages.plot import Dots, Line, Plot, svg
from twlcli.pages.scales import Tick, linear_axis, log_axis, number
from twlcli.pages.templates import render_page, style_of
from twlcli.probing.report import notes, rows_of, short_names, tables_of
from twlcli.probing.result import HEADINGS, SELECTIONS, ProbeResult

_NARROWEST = 1.0  # points that an axis spans at least, so that noise looks small
_DECADES = 2  # from one tick to the next


def write_page(results: Sequence[ProbeResult], path: Path, facts: dict[str, str]) -> None:
    """Write the results as one HTML file.

    Args:
        results: what to show.
        path: of the file; replaced if it is there.
        facts: what it says at the top, by name.
    """
    short = short_names([result.model for result in results])
    page = render_page(
        "probing/page.html",
        title="Linear evaluation",
        style=style_of("pages/report.css"),
        facts=facts,
        results=results,
        tables=[(headings, rows_of(several)) for headings, several in tables_of(results)],
        notes=notes(results),
        short=short,
        plots=[penalty_plot(replace(each, model=short[each.model])) for each in results],
        svg=svg,
    )
    write_whole(path, lambda file: file.write(page.encode(errors="replace")))


def penalty_plot(result: ProbeResult) -> Plot:
    """The first score over penalties: on the test images, and dashed on the held-out ones.

    Dots are the two choices, both on the test images.
    """
    name = result.score_names[0]
    tested = [(each.penalty, 100 * each.scores[name]) for each in result.swept]
    validated = [(each.penalty, 100 * each.validation) for each in result.swept]
    chosen = [result.selected(each) for each in SELECTIONS]
    points = [(each.penalty, 100 * each.scores[name]) for each in chosen]
    titles = [
        f"{selection}: {x:.3g}, {y:.2f}"
        for selection, (x, y) in zip(SELECTIONS, points, strict=True)
    ]
    heights = linear_axis(
        [y for _, y in (*tested, *validated)],
        title=HEADINGS[name],
        narrowest=_NARROWEST,
        within=(0, 100),
        grid=True,
    )
    return Plot(
        f"{HEADINGS[name]} of {result.model} on {result.data} by penalty",
        log_axis(_ticks([x for x, _ in tested]), title="penalty λ"),
        heights,
        (
            Line(validated, "soft", dashed=True),
            Line(tested),
            Dots(points, titles, radius=4.5),
        ),
        heading=f"{result.model}, {result.data}",
    )


def _ticks(penalties: Sequence[float]) -> list[Tick]:
    """The ends, and powers of ten between them."""
    low, high = min(penalties), max(penalties)
    powers = range(math.ceil(math.log10(low)) + 1, math.floor(math.log10(high)), _DECADES)
    between = [10.0**power for power in powers if low < 10.0**power < high]
    return [Tick(value, number(f"{value:.0e}")) for value in dict.fromkeys((low, *between, high))]

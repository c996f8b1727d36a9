"""Where the command line writes: data on stdout, progress on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from twlcli.cli.printable import printable, printable_lines


class Console(RichConsole):
    """Prints text as it is: nothing in it is markup, an emoji or a control code.

    Names and labels are somebody else's. A text takes one line, also in a cell of a table; what is
    drawn in any other way has no control codes in it at least.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does, of a text that is fit for a terminal."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does; only rich's own control codes come through."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable_lines(text), style)


_WIDEST = 4096  # columns of a table; no path is longer

out = Console()
err = Console(stderr=True)


def print_table(table: Table) -> None:
    """Write a table to stdout, without the blanks that fill up its last column.

    Where nobody looks at it, it is as wide as it has to be, and no name is torn.
    """
    options = out.options
    if not out.is_terminal:
        whole = options.update(width=_WIDEST)
        options = options.update(width=max(1, Measurement.get(out, whole, table).maximum))
    for line in out.render_lines(table, options, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
        out.print(Segments([*line, Segment.line()]), end="")

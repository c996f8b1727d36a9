"""Linear evaluation as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from twlcli.probing.report import rows_of, tables_of
from twlcli.probing.result import ProbeResult


def probe_tables(results: Sequence[ProbeResult]) -> list[Table]:
    """One for sets with one label per image, and one for the others; scores in percent."""
    tables = []
    for headings, several in tables_of(results):
        table = Table(box=None, pad_edge=False)
        for heading in ("set", "model"):
            table.add_column(heading, overflow="fold")
        table.add_column("chosen by", no_wrap=True)
        for heading in ("penalty", *headings):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("gradient norm")
        for row in rows_of(several):
            table.add_row(*row)
        tables.append(table)
    return tables

"""Tables as they are printed."""

import io

import pytest
from rich.table import Table

from twlcli.cli import console

LONG = "resnet50=" + "very-long-folder/" * 12 + "weights.pth"


def table() -> Table:
    made = Table(box=None, pad_edge=False)
    made.add_column("model", overflow="fold")
    made.add_column("accuracy", justify="right", no_wrap=True)
    made.add_row(LONG, "84.21")
    made.add_row("short", "4.00")
    return made


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_are_folded_on_a_terminal_alone(monkeypatch, is_terminal):
    written = io.StringIO()
    shown = console.Console()
    shown.file, shown._width, shown._force_terminal = written, 80, is_terminal
    monkeypatch.setattr(console, "out", shown)
    console.print_table(table())
    lines = written.getvalue().splitlines()
    assert (max(map(len, lines)) <= 80) == is_terminal
    assert (LONG in written.getvalue()) == (not is_terminal)
    assert lines[-1].split()[0] == "short"
    assert all(line == line.rstrip() for line in lines)

"""`twl models`: the models that come with twl."""

from __future__ import annotations


def models() -> None:
    """List the models that come with twl, by the names that --model takes.

    Example: twl models
    """
    from rich.table import Table

    from twlcli.cli.console import out
    from twlcli.model.bundled import DEFAULT_MODEL, bundled_models

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("what it knows", overflow="fold")
    for each in bundled_models():
        about = f"{each.about} The default." if each.name == DEFAULT_MODEL else each.about
        table.add_row(each.name, f"{each.path.stat().st_size / 1e6:.1f}", about)
    out.print(table)

"""`twl untag`: take twl's tags out again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def untag(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATHS", help="Folders, sidecars, or images with sidecars."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; list what would be changed.")
    ] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Also take tags out of the photographs themselves.")
    ] = False,
    no_originals: Annotated[
        bool,
        typer.Option(
            "--no-originals",
            help="With --embedded: do not keep each photograph as it was as photo.jpg_original.",
        ),
    ] = False,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The journal of the run that wrote text files [default: .twl-journal in the "
            "folder]",
        ),
    ] = None,
) -> None:
    """Take twl's tags out of XMP sidecars, and remove the sidecars that twl made.

    Your own keywords and everything else stay. A sidecar that was there before twl is again what
    it was, byte for byte, unless somebody has changed it since. Text files say nowhere who wrote
    them: those that the journal knows are removed, unless somebody has changed them since.

    Example: twl untag holiday/ --dry-run
    """
    from twlcli.cli.printable import FAILURES_SHOWN, echo, printable, say
    from twlcli.errors import TwlError
    from twlcli.tagging.untag import untag as untag_files

    if no_originals and not embedded:
        raise TwlError("--no-originals requires --embedded")
    verbs = {"removed": "remove", "cleaned": "clean"}
    result = untag_files(
        paths,
        embedded=embedded,
        journal=journal,
        keep_original=not no_originals,
        dry_run=dry_run,
        watcher=lambda path, action: (
            echo(f"{verbs[action]} {printable(str(path))}") if dry_run else None
        ),
    )
    for failure in result.failures[:FAILURES_SHOWN]:
        say(f"failed: {failure.image}: {failure.reason}")
    if len(result.failures) > FAILURES_SHOWN:
        say(f"failed: {len(result.failures) - FAILURES_SHOWN:,} more")
    files = "file" if result.removed == 1 else "files"
    would = "would be " if dry_run else ""
    parts = [f"{result.removed:,} {files} {would}removed", f"{result.cleaned:,} cleaned"]
    if result.left:
        parts.append(f"{result.left:,} changed by somebody since and left")
    if result.failures:
        parts.append(f"{len(result.failures):,} failed")
    start = "dry run, nothing was changed: " if dry_run else ""
    say(f"{start}{', '.join(parts)}")
    if result.failures:
        raise typer.Exit(3)

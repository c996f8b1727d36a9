"""What the options of `twl tag` and `twl retag` say is to be written, as outputs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from twlcli.cli.printable import data_stream
from twlcli.errors import TwlError
from twlcli.io import is_address
from twlcli.stores.address import shown

if TYPE_CHECKING:
    from twlcli.tagging.outputs.output import Output


def refuse(wrong: dict[str, bool]) -> None:
    """Raise TwlError for the first of some sentences that is true."""
    for sentence, is_so in wrong.items():
        if is_so:
            raise TwlError(sentence)


def uploaded(
    outs: Sequence[str], format_name: str | None, *, bom: bool, image_prefix: str | None
) -> Iterator[Output]:
    """As `tables_of`, with those whose names are addresses uploaded."""
    if not any(map(is_address, outs)):
        yield from tables_of(outs, format_name, bom=bom, image_prefix=image_prefix)
        return
    from twlcli.stores.upload import beside, named_as_given, staged
    from twlcli.tagging.outputs.uploaded import Uploaded

    places = {str(staged(out)): out for out in outs if is_address(out)}
    names = {address: place for place, address in places.items()}
    local = [names.get(out, out) for out in outs]
    addresses = {Path(place).parent: address for place, address in places.items()}
    with named_as_given(names):
        tables = tables_of(local, format_name, bom=bom, image_prefix=image_prefix)
    for each in tables:
        address = None if each.file is None else addresses.get(each.file.parent)
        if address is None or each.file is None:
            yield each
        else:
            is_named = str(each.file) in places
            yield Uploaded(each, address if is_named else beside(address, each.file.name))


def placed(name: str, make: Callable[[Path], Output]) -> Output:
    """What `make` makes of the name of a file, be it an address."""
    if not is_address(name):
        return make(Path(name))
    from twlcli.tagging.outputs.uploaded import Uploaded

    return Uploaded.to(name, make)


def tables_of(
    outs: Sequence[str], format_name: str | None, *, bom: bool, image_prefix: str | None
) -> list[Output]:
    """The tables of the options `--out`, `--format`, `--bom` and `--image-prefix`.

    Raises:
        TwlError: one cannot be written as it is named.
    """
    from twlcli.tagging.outputs.csv import Csv
    from twlcli.tagging.outputs.label_studio import LabelStudio, LabelStudioConfig

    if image_prefix is not None and format_name != "label-studio":
        raise TwlError("--image-prefix requires --format label-studio")
    if outs.count("-") > 1:
        raise TwlError("--out - is given more than once")
    for out in outs:
        if is_address(out):
            raise TwlError(f"{shown(out)}: expected a file on the disk")
        if out in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
            raise TwlError(f"--out {out}: --out - is standard output")
    if format_name is not None and not outs:
        raise TwlError("--format requires a table: --out FILE")
    tables: list[Output] = []
    for each in _named_tables(outs, format_name):
        if isinstance(each, Csv):
            tables.append(replace(each, bom=bom))
        elif isinstance(each, LabelStudio):
            if each.file is not None:
                tables.append(LabelStudioConfig(each.file.with_suffix(".xml")))
            tables.append(
                each if image_prefix is None else replace(each, image_prefix=image_prefix)
            )
        else:
            tables.append(each)
    return tables


def _named_tables(outs: Sequence[str], format_name: str | None) -> Iterator[Output]:
    """The table of each `--out`; formats of JSON are for `.json` files, and others keep theirs."""
    from twlcli.tagging.outputs.tables import FOR_TOOLS, streamed_table, table

    def is_json(out: str) -> bool:
        return Path(out).suffix.lower() == ".json"

    for_tool = format_name in FOR_TOOLS
    if for_tool and not any(is_json(out) or out == "-" for out in outs):
        raise TwlError(f"--format {format_name} requires --out with a name that ends in .json")
    for out in outs:
        if out == "-":
            yield streamed_table(_standard_output(), format_name)
        elif is_json(out) and format_name is None:
            choice = " or ".join(f"--format {name}" for name in FOR_TOOLS)
            raise TwlError(f"{out}: a .json file requires {choice}; a .jsonl file needs neither")
        else:
            yield table(Path(out), None if for_tool and not is_json(out) else format_name)


def _standard_output() -> BinaryIO:
    try:
        os.write(sys.stdout.fileno(), b"")
    except OSError as error:
        if error.errno == errno.EBADF:  # closed by whoever called; else it is no file, in a test
            message = "standard output is closed; write to a file with --out FILE"
            raise TwlError(message) from None
    return data_stream()


def sidecars_of(
    *,
    txt: bool,
    txt_existing: str | None,
    xmp: bool,
    names: str | None,
    hierarchy: str | None,
    restore_deleted: bool,
    embedded: bool = False,
    originals: bool = True,
) -> Iterator[Output]:
    """The sidecars of the options of these names; `embedded` is `--write-embedded`.

    Raises:
        TwlError: an option has no use without another, or a value is not known.
    """
    no_xmp = not (xmp or embedded)
    refuse(
        {
            "--sidecar-names requires --txt or --xmp": bool(names and not (txt or xmp)),
            "--hierarchy requires --xmp or --write-embedded": hierarchy is not None and no_xmp,
            "--restore-deleted requires --xmp or --write-embedded": restore_deleted and no_xmp,
            "--no-originals requires --write-embedded": not (originals or embedded),
            "--txt-existing requires --txt": txt_existing is not None and not txt,
        }
    )
    levels = "|" if hierarchy is None else hierarchy
    if txt:
        from twlcli.tagging.outputs.txt import TxtSidecars

        yield TxtSidecars(names or "stem", txt_existing)
    if xmp:
        from twlcli.tagging.outputs.xmp.writer import XmpSidecars

        yield XmpSidecars(names, levels, restore_deleted)
    if embedded:
        from twlcli.tagging.outputs.xmp.inside import EmbeddedXmp

        yield EmbeddedXmp(levels, restore_deleted, originals)


def pages(gallery: str | None, title: str, errors: str | None, *, bom: bool) -> Iterator[Output]:
    """The gallery, and the table of failures.

    Raises:
        TwlError: the gallery would not be on the disk.
    """
    if gallery is not None and is_address(gallery):
        raise TwlError(f"{shown(gallery)}: a gallery links to images beside it on the disk")
    if gallery is not None:
        from twlcli.tagging.outputs.gallery.page import Gallery

        yield Gallery(Path(gallery), title)
    if errors is not None:
        from twlcli.tagging.outputs.csv import FailureTable

        yield placed(errors, partial(FailureTable, bom=bom))

"""The options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twlcli.io import is_address

DATA_HELP = "A label file, or a folder with labels; `twl data show DATA` prints what is in it."

# Labels: `twl data`, train, eval, compare, and the labelled images of `twl export --int8`.


def on_disk(text: str) -> Path:
    """The path of a file; for an address of a store that of a local copy."""
    if is_address(text):
        from twlcli.stores.cached import local_copy

        return local_copy(text)
    return Path(text)


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        parser=on_disk,
        help=f"Labelled images. {DATA_HELP}",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A split of the labelled images, several with commas between, or all [default: val; "
        "all where there are no splits]",
    ),
]

# Running a model: `twl tag`, eval and export.
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="One number for all labels; precision=P or recall=R, for 0.5, 0.6, 0.7, 0.8, 0.9 or "
        "0.95 (and precision=0.99), for thresholds that reach this precision or recall with "
        "confidence; best-f1, f2 or f0.5 for those with the best F score of each label; or a .toml "
        "file with a number for each label [default: best-f1]",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What runs an .onnx model: cpu, cuda, tensorrt, migraphx, rocm, openvino, coreml or "
        "directml [default: the fastest available]",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Images in one call of the model [default: suits the device]"
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Batches decoded and predicted in parallel [default: one per core]",
    ),
]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Decode JPEG at full size: slower; scores barely change."),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        min=1,
        metavar="N",
        help="Refuse images of more pixels; of JPEG those count that are decoded, a 1/64 of them "
        "at best [default: 178956970]",
    ),
]
AcceptDamaged = Annotated[
    bool,
    typer.Option("--accept-damaged", help="Read damaged images as far as possible."),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Import the network module:function that a run or checkpoint names, if it names one. "
        "Its code runs with your rights.",
    ),
]

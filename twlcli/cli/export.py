"""`twl export`: write a model as one ONNX file, or as a folder for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options
from twlcli.cli.label_options import flags_of, with_label_options
from twlcli.cli.printable import print_unreadable
from twlcli.errors import TwlError, needs_extra

if TYPE_CHECKING:
    from twlcli.exporting.bundle import BundleKind
    from twlcli.exporting.int8 import Quantized
    from twlcli.model.spec import ModelSpec

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a .safetensors checkpoint.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The ONNX file to write [default: RUN/model.onnx; with --int8 RUN/model.int8.onnx]",
    ),
]
Bundle = Annotated[
    tuple[str, Path] | None,
    typer.Option(
        metavar="KIND DIR",
        help="Write a folder for other programs instead: hf (timm, transformers, transformers.js), "
        "wd (programs for WD taggers) or triton.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace an existing file, or the files of a bundle in DIR."),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Quantise to int8, and measure the result against float32 on labelled images.",
    ),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Labelled images for --int8 [default: the validation images of the run]",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="POINTS",
        help="Refuse an int8 model that loses more mAP@class than this (0..100) [default: 1.0]",
    ),
]
AcceptDrop = Annotated[
    bool, typer.Option("--accept-drop", help="Write the int8 model however much it loses.")
]


@with_label_options
def export(
    run: RunArgument,
    out: Out = None,
    bundle: Bundle = None,
    force: Force = False,
    int8: Int8 = False,
    calibrate: Calibrate = None,
    split: options.Split = None,
    reading: ReadOptions = DEFAULTS,
    max_drop: MaxDrop = None,
    accept_drop: AcceptDrop = False,
    workers: options.Threads = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Write one ONNX file with labels, preprocessing, calibration and thresholds inside.

    --int8 shrinks a large network to about a quarter, a tiny one less. Calibration and thresholds
    are fitted again to the quantised model, and a table compares it with the float32 model.

    --bundle writes a folder that other programs load instead; KIND is hf, wd or triton.

    Example: twl export runs/photos --out photos.onnx
    """
    for name, value in {"int8": int8 or None, "out": out}.items():
        if value is not None and bundle is not None:
            raise TwlError(f"--bundle and --{name} cannot be combined")
    for name, value in {
        "calibrate": calibrate,
        "split": split,
        **flags_of(reading),
        "max-drop": max_drop,
        "accept-drop": accept_drop or None,
        "workers": workers,
    }.items():
        if value is not None and not int8:
            raise TwlError(f"--{name} requires --int8")
    from twlcli.model.load import check_there

    check_there(run)
    if bundle is not None:
        _export_bundle(run, *bundle, force=force, allow_code=allow_code)
        return
    if not int8:
        _export_float(run, out, force=force, allow_code=allow_code)
        return
    with needs_extra("exporting", "train"):
        from twlcli.exporting.int8 import MAX_DROP, export_int8
    from twlcli.cli.progress import counting_bar

    quantized = export_int8(
        run,
        out,
        data=calibrate,
        split=split,
        **reading.given(),
        max_drop=MAX_DROP if max_drop is None else max_drop,
        accept_drop=accept_drop,
        force=force,
        allow_code=allow_code,
        workers=workers,
        watcher=counting_bar,
    )
    _print_int8(quantized)
    print_unreadable(quantized.unreadable)


def _export_float(run: Path, out: Path | None, *, force: bool, allow_code: bool) -> None:
    with needs_extra("exporting", "train"):
        from twlcli.exporting.onnx import CHECKED_BATCHES
        from twlcli.exporting.onnx import export as export_model
    from twlcli.cli.console import err
    from twlcli.labels import counted

    exported = export_model(run, out, force=force, allow_code=allow_code)
    batches = ", ".join(map(str, CHECKED_BATCHES))
    labels = counted(len(exported.spec.vocabulary), "label", "labels")
    err.print(
        f"{exported.path}: {exported.size / 1e6:.1f} MB, {labels}; "
        f"torch and ONNX Runtime differ by at most {exported.difference:.1e} "
        f"in logits of up to {exported.scale:.1f} (batches {batches})"
    )
    _print_never_given(exported.spec)


def _export_bundle(run: Path, kind: str, folder: Path, *, force: bool, allow_code: bool) -> None:
    with needs_extra("exporting", "train"):
        from twlcli.exporting.bundle import export_bundle
    from twlcli.cli.console import err
    from twlcli.labels import counted

    made = export_bundle(run, cast("BundleKind", kind), folder, force=force, allow_code=allow_code)
    labels = counted(len(made.spec.vocabulary), "label", "labels")
    err.print(f"{made.folder}: {len(made.files)} files, {made.size / 1e6:.1f} MB, {labels}")
    err.print(f"{kind}: {made.note}")


def _print_never_given(spec: ModelSpec) -> None:
    """Say how many labels each of the precisions and recalls leaves out."""
    from twlcli.cli.console import err

    if spec.thresholds is None:
        return
    left = [
        f"{count} at {what}={float(key):g}"
        for what in ("precision", "recall")
        for key, values in getattr(spec.thresholds, what).items()
        if (count := sum(value > 1 for value in values))
    ]
    if left:
        err.print(f"of {len(spec.vocabulary)} labels some are never given: {', '.join(left)}")


def _print_int8(quantized: Quantized) -> None:
    from rich.table import Table

    from twlcli.cli.console import err, print_table
    from twlcli.scoring.report import percent

    table = Table(box=None, pad_edge=False)
    table.add_column()
    for heading in ("size", "images/s", "mAP@class", "mAP@sample"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, model in (("float32", quantized.before), ("int8", quantized.after)):
        rate, maps = model.images_per_second, (model.map_class, model.map_sample)
        size = f"{model.size / 1e6:.1f} MB"
        table.add_row(name, size, f"{rate:,.{0 if rate >= 10 else 1}f}", *map(percent, maps))
    print_table(table)
    fitted = "refitted" if quantized.is_fitted else "kept, as it was trained on these images"
    err.print(
        f"{quantized.path}: measured on {quantized.data}, split {quantized.split}: "
        f"{quantized.images:,} images, ranges from {quantized.range_images:,} of them; "
        f"calibration and thresholds {fitted}; images/s of one thread, without decoding"
    )
    _print_never_given(quantized.spec)
    if quantized.speedup <= 1:
        err.print(f"twl: int8 is not faster here: {quantized.speedup:.2f} times float32")

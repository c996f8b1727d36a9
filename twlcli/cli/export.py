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
    from twlcli.exporting.smaller import Smaller
    from twlcli.model.spec import ModelSpec

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a .safetensors checkpoint.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The ONNX file to write [default: RUN/model.onnx; model.int8.onnx with --int8, "
        "model.fp16.onnx with --fp16]",
    ),
]
Bundle = Annotated[
    tuple[str, Path] | None,
    typer.Option(
        metavar="KIND DIR",
        help="Write a folder for other programs instead: hf (timm, transformers, transformers.js), "
        "wd (programs for WD taggers), triton, or web (a page that tags images in a browser).",
    ),
]
Runtime = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="For --bundle web: a folder with onnxruntime-web's files, instead of fetching them.",
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
Fp16 = Annotated[
    bool,
    typer.Option(
        "--fp16",
        help="Convert to float16, for graphics cards and phones, and measure the result likewise.",
    ),
]
Tags = Annotated[
    bool,
    typer.Option("--tags", help="Add an output 'tags' that says which labels are given."),
]
Opset = Annotated[
    int | None,
    typer.Option(metavar="N", help="Version of ONNX's operators, 18 to 25 [default: 18]"),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="WISH",
        help="Thresholds of --tags: best-f1, precision=0.9, recall=0.9, f2, a number, or a .toml "
        "file [default: best-f1]",
    ),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Labelled images for --int8 or --fp16 [default: the validation images of the run]",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="POINTS",
        help="Refuse a smaller model that loses more mAP@class than this (0..100) [default: 1.0]",
    ),
]
AcceptDrop = Annotated[
    bool, typer.Option("--accept-drop", help="Write the smaller model however much it loses.")
]


@with_label_options
def export(
    run: RunArgument,
    out: Out = None,
    bundle: Bundle = None,
    runtime: Runtime = None,
    force: Force = False,
    int8: Int8 = False,
    fp16: Fp16 = False,
    calibrate: Calibrate = None,
    split: options.Split = None,
    reading: ReadOptions = DEFAULTS,
    max_drop: MaxDrop = None,
    accept_drop: AcceptDrop = False,
    workers: options.Threads = None,
    tags: Tags = False,
    threshold: Threshold = None,
    opset: Opset = None,
    allow_code: options.AllowCode = False,
) -> None:
    """Write one ONNX file with labels, preprocessing, calibration and thresholds inside.

    --int8 shrinks a large network to about a quarter, a tiny one less; --fp16 to a half.
    Calibration and thresholds are fitted again to the smaller model, and a table compares it with
    the float32 model.

    --bundle writes a folder that other programs load instead; KIND is hf, wd, triton or web.

    Example: twl export runs/photos --out photos.onnx
    """
    graph = {"tags": tags or None, "threshold": threshold, "opset": opset}
    for name, value in {"int8": int8 or None, "fp16": fp16 or None, "out": out, **graph}.items():
        if value is not None and bundle is not None:
            raise TwlError(f"--bundle and --{name} cannot be combined")
    if int8 and fp16:
        raise TwlError("--int8 and --fp16 cannot be combined")
    for name, value in {
        "calibrate": calibrate,
        "split": split,
        **flags_of(reading),
        "max-drop": max_drop,
        "accept-drop": accept_drop or None,
        "workers": workers,
    }.items():
        if value is not None and not (int8 or fp16):
            raise TwlError(f"--{name} requires --int8 or --fp16")
    if threshold is not None and not tags:
        raise TwlError("--threshold requires --tags")
    if runtime is not None and (bundle is None or bundle[0] != "web"):
        raise TwlError("--runtime requires --bundle web")
    from twlcli.model.load import check_there

    check_there(run)
    if bundle is not None:
        _export_bundle(run, *bundle, runtime=runtime, force=force, allow_code=allow_code)
        return
    with needs_extra("exporting", "train"):
        from twlcli.exporting.smaller import MAX_DROP, export_fp16, export_int8
        from twlcli.model.onnx_writer import OPSET
    opset = OPSET if opset is None else opset
    if not (int8 or fp16):
        _export_float(
            run,
            out,
            tags=tags,
            threshold=threshold,
            opset=opset,
            force=force,
            allow_code=allow_code,
        )
        return
    from twlcli.cli.progress import counting_bar

    made = (export_int8 if int8 else export_fp16)(
        run,
        out,
        data=calibrate,
        split=split,
        **reading.given(),
        max_drop=MAX_DROP if max_drop is None else max_drop,
        accept_drop=accept_drop,
        tags=tags,
        threshold=threshold,
        opset=opset,
        force=force,
        allow_code=allow_code,
        workers=workers,
        watcher=counting_bar,
    )
    _print_smaller(made)
    print_unreadable(made.unreadable)


def _export_float(
    run: Path,
    out: Path | None,
    *,
    tags: bool,
    threshold: str | None,
    opset: int,
    force: bool,
    allow_code: bool,
) -> None:
    with needs_extra("exporting", "train"):
        from twlcli.exporting.onnx import CHECKED_BATCHES
        from twlcli.exporting.onnx import export as export_model
    from twlcli.cli.console import err
    from twlcli.labels import counted

    exported = export_model(
        run,
        out,
        tags=tags,
        threshold=threshold,
        opset=opset,
        force=force,
        allow_code=allow_code,
    )
    batches = ", ".join(map(str, CHECKED_BATCHES))
    labels = counted(len(exported.spec.vocabulary), "label", "labels")
    err.print(
        f"{exported.path}: {exported.size / 1e6:.1f} MB, {labels}; "
        f"torch and ONNX Runtime differ by at most {exported.difference:.1e} "
        f"in logits of up to {exported.scale:.1f} (batches {batches})"
    )
    _print_never_given(exported.spec)


def _export_bundle(
    run: Path, kind: str, folder: Path, *, runtime: Path | None, force: bool, allow_code: bool
) -> None:
    with needs_extra("exporting", "train"):
        from twlcli.exporting.bundle import export_bundle
    from twlcli.cli.console import err
    from twlcli.labels import counted

    made = export_bundle(
        run, cast("BundleKind", kind), folder, runtime=runtime, force=force, allow_code=allow_code
    )
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


def _print_smaller(made: Smaller) -> None:
    from rich.table import Table

    from twlcli.cli.console import err, print_table
    from twlcli.scoring.report import percent

    table = Table(box=None, pad_edge=False)
    table.add_column()
    for heading in ("size", "images/s", "mAP@class", "mAP@sample"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, model in (("float32", made.before), (made.kind, made.after)):
        rate, maps = model.images_per_second, (model.map_class, model.map_sample)
        size = f"{model.size / 1e6:.1f} MB"
        table.add_row(name, size, f"{rate:,.{0 if rate >= 10 else 1}f}", *map(percent, maps))
    print_table(table)
    ranges = f", ranges from {made.range_images:,} of them" if made.range_images else ""
    fitted = "refitted" if made.is_fitted else "kept, as it was trained on these images"
    err.print(
        f"{made.path}: measured on {made.data}, split {made.split}: {made.images:,} "
        f"images{ranges}; calibration and thresholds {fitted}; "
        "images/s of one thread on the CPU, without decoding"
    )
    _print_never_given(made.spec)
    if made.speedup <= 1:
        err.print(f"twl: {made.kind} is not faster here: {made.speedup:.2f} times float32")

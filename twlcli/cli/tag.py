"""`twl tag`: labels for every image in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.tagging.writers import Failure

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATHS", help="Images, and folders of images.")
]
Model = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="An exported .onnx. Default: one that knows drawn shapes only."
    ),
]
Out = Annotated[
    str, typer.Option(metavar="FILE", help="A .csv or .jsonl file; - is the standard output.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="csv or jsonl, whatever the file's suffix."),
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="The N most probable labels, however improbable; with --threshold, at most N of "
        "those that reach it.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="A number for all labels, precision=0.9 for the fitted ones that reach it, or "
        "best-f1, the default: those fitted for the best F1 of each label.",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What runs the model: cpu, cuda, tensorrt, migraphx, rocm, openvino, coreml or "
        "directml. Default: the best there is.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Images in one call. Default: 8 on CPU, else 32."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Threads. Default: one for each core.")
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Decode JPEG at full size: slower, hardly different.")
]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Also take what begins with a dot in folders.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace output files that exist.")]
Errors = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="List every unreadable image with the reason, as CSV."),
]


def tag(
    paths: Paths,
    model: Model = None,
    out: Out = "-",
    format_name: Format = None,
    top_k: TopK = None,
    threshold: Threshold = None,
    provider: Provider = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    exact: Exact = False,
    hidden: Hidden = False,
    force: Force = False,
    errors: Errors = None,
) -> None:
    """Tag images: which labels each one has, and how probably.

    Writes a row for each image, in the order of the files; paths are relative to the folder given.
    Images that cannot be read do not stop the run: they are listed at the end, and the exit code is
    3.
    """
    from twlcli.cli.tag_report import TagReport
    from twlcli.images.scan import scan
    from twlcli.scoring.thresholds import resolve
    from twlcli.shipped import default_model
    from twlcli.tagging import pipeline, writers
    from twlcli.tagging.session import OnnxPredictor

    out_path = None if out == "-" else Path(out)
    file_format = writers.format_of(out_path, format_name)
    _check_outputs(out_path, errors, force=force)
    model_path = model or default_model()
    work = pipeline.spread(
        scan(paths, hidden=hidden), workers=workers, batch_size=batch_size or pipeline.CPU_BATCH
    )
    predictor = OnnxPredictor(model_path, provider=provider, threads=work.threads)
    spec = predictor.spec
    default_batch = pipeline.CPU_BATCH if predictor.provider == "cpu" else pipeline.DEVICE_BATCH
    all_labels = top_k is not None and threshold is None
    thresholds = None if all_labels else resolve(spec, threshold)
    report = TagReport(
        model=f"model {model_path} on {predictor.provider}",
        out=out_path,
        errors=errors,
        scan_again=lambda: scan(paths, hidden=hidden),
    )
    if model is None:
        report.say(
            "the default model knows only drawn shapes; train one on your own labels with "
            "'twl train', then 'twl export', and name it with --model"
        )
    try:

        def on_failure(failure: Failure) -> None:
            report.fail(failure)
            write_failure(failure)

        with (
            writers.open_writer(
                out_path,
                file_format,
                spec.vocabulary,
                standard_output=typer.get_binary_stream("stdout"),
            ) as writer,
            writers.open_failures(errors) as write_failure,
            report.progress(),
        ):
            tally = pipeline.tag(
                work.files,
                predictor,
                [writer],
                thresholds=thresholds,
                top_k=top_k,
                workers=work.workers,
                batch_size=batch_size or default_batch,
                exact=exact,
                on_failure=on_failure,
                on_progress=report.advance,
            )
    except (KeyboardInterrupt, TwlError) as error:
        report.stopped()
        if isinstance(error, TwlError):
            raise
        raise typer.Exit(130) from None
    report.finished()
    if tally.failed:
        raise typer.Exit(3)


def _check_outputs(out: Path | None, errors: Path | None, *, force: bool) -> None:
    from twlcli.tagging.writers import check_free

    for path in (out, errors):
        if path is not None:
            check_free(path, force=force)
    if errors is not None and errors == out:
        raise TwlError(f"{errors}: --out and --errors name the same file")

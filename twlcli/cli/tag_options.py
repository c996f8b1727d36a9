"""The options of `twl tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATHS",
        help="Images, folders, WebDataset .tar shards, and quoted globs such as 'a/**/*.jpg'.",
    ),
]
Lists = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Also tag the paths listed in FILE, one per line; - reads standard input.",
    ),
]
Null = Annotated[bool, typer.Option("--null", help="Lists are separated by NUL: find -print0.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Only tag files matching this .gitignore-style pattern (repeatable).",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN", help="Skip files matching this .gitignore-style pattern (repeatable)."
    ),
]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Also take what begins with a dot in folders.")
]
ShardText = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts; twl merge joins them."),
]

Model = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="An exported .onnx model [default: the bundled demo model, which recognises "
        "synthetic shapes only]",
    ),
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
RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        "--policy",
        metavar="FILE",
        help="A TOML file of tag rules: aliases, implications, groups, labels never to write.",
    ),
]

Outs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="A .csv, .jsonl or .parquet file; - is the standard output. May be given several "
        "times. Default: -, unless another output is asked for.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="csv, jsonl or parquet, whatever the file's suffix."
    ),
]
Txt = Annotated[
    bool, typer.Option("--txt", help="Write the tags of photo.jpg to photo.txt, beside it.")
]
Xmp = Annotated[
    bool,
    typer.Option("--xmp", help="Write the tags to XMP sidecars; what is in them already stays."),
]


SidecarNaming = Annotated[
    str | None,
    typer.Option(
        "--sidecar-names",
        metavar="FORM",
        help="full: photo.jpg.xmp, XMP's default; stem: photo.xmp, that of --txt.",
    ),
]
Hierarchy = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Separator between the levels of a label in XMP, empty for none [default: |]",
    ),
]
Gallery = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A page of thumbnails to look through the result."),
]
Unordered = Annotated[
    bool,
    typer.Option("--unordered", help="Write rows as they come: a slow image holds up no other."),
]
Errors = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="List every unreadable image with the reason, as CSV."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace output files that exist.")]

JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Remembers what is done, so that the same command goes on after an interruption. "
        "Default: FILE.journal for --out FILE; for sidecars alone .twl-journal in the folder.",
    ),
]
NoJournal = Annotated[bool, typer.Option("--no-journal", help="Remember nothing.")]
ContentHash = Annotated[
    bool,
    typer.Option(
        "--hash", help="Tell changed files by a hash of their content, not by size and time."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try again what could not be read before.")
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
    typer.Option(min=1, metavar="N", help="Images in one call. Default: 2 on CPU, else 32."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Batches decoded and predicted at once. Default: one per core."
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", min=0.1, metavar="SECONDS", help="For decoding one image. Default: 60."
    ),
]
MemoryLimit = Annotated[
    int | None,
    typer.Option(
        "--memory-limit", min=256, metavar="MB", help="For decoding one image. Default: 4096."
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Decode JPEG at full size: slower; scores barely change.")
]

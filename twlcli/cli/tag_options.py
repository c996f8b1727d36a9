"""The options of `twl tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATHS...",
        help="Images, folders, WebDataset .tar shards, and quoted globs such as 'a/**/*.jpg'; also "
        "in stores, such as s3://bucket/photos.",
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
Null = Annotated[
    bool, typer.Option("--null", help="Paths in a list end with NUL, as from find -print0.")
]
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
Hidden = Annotated[bool, typer.Option("--hidden", help="Include hidden files and folders.")]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Tag only part I of N; `twl merge` joins the tables."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ray",
        help="Tag on a Ray cluster, or with Ray on this machine, into Parquet parts: --out DIR.",
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="An exported .onnx model, a folder with a model of another program (WD tagger, timm, "
        "transformers), hf:ORG/NAME on the Hugging Face hub, an address in a store, or a "
        "name from `twl models` [default: photos-small, which knows twenty everyday labels]",
    ),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="The labels in the order of the outputs, one on each line; with --input, for a model "
        "of which nothing is known.",
    ),
]
InputForm = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="LIST",
        help="How images go in: nchw or nhwc; rgb or bgr; imagenet, unit, centred or bytes; crop, "
        "pad or stretch; bilinear or bicubic; logits, probabilities or classes. The first of each "
        "is meant where none is named.",
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Write the N most probable labels, however improbable; with --threshold, at most N of "
        "those that reach it.",
    ),
]
RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="A TOML file of tag rules: aliases, implications, groups, and labels never to write.",
    ),
]
Policy = Annotated[  # its name in 0.1.0
    Path | None,
    typer.Option("--policy", metavar="FILE", help="The old name of --rules.", hidden=True),
]

Outs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="A .csv, .jsonl or .parquet file, on the disk or in a store, or - for standard output "
        "(repeatable) [default: -, unless another output is chosen]",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the tables: csv, jsonl or parquet [default: by the file's suffix]; or, for "
        "a .json file and -, label-studio (predictions to import, with the labelling interface in "
        "a .xml file beside) or fiftyone (a data set for Dataset.from_json)",
    ),
]
ImagePrefix = Annotated[
    str | None,
    typer.Option(
        "--image-prefix",
        metavar="TEXT",
        help="With --format label-studio: what stands before an image's name in its address, such "
        "as https://photos.example.org/ [default: /data/local-files/?d=]",
    ),
]
Txt = Annotated[
    bool, typer.Option("--txt", help="Write the tags of photo.jpg to photo.txt beside it.")
]
TxtExisting = Annotated[
    str | None,
    typer.Option(
        "--txt-existing",
        metavar="WHAT",
        help="What to do with a text file that twl did not write: append the tags that it lacks, "
        "keep it, or replace it [default: keep it, and report the image]",
    ),
]
Xmp = Annotated[
    bool,
    typer.Option("--xmp", help="Add the tags to XMP sidecars; everything else in them is kept."),
]
WriteEmbedded = Annotated[
    bool,
    typer.Option(
        "--write-embedded",
        help="Add the tags to the XMP inside the photographs, through ExifTool; pixels stay.",
    ),
]
NoOriginals = Annotated[
    bool,
    typer.Option(
        "--no-originals",
        help="With --write-embedded: do not keep each photograph as it was as photo.jpg_original.",
    ),
]
RestoreDeleted = Annotated[
    bool,
    typer.Option(
        "--restore-deleted", help="Add again the tags of twl that you deleted in a photo program."
    ),
]

SidecarNaming = Annotated[
    str | None,
    typer.Option(
        "--sidecar-names",
        metavar="FORM",
        help="full: photo.jpg.xmp; stem: photo.xmp [default: stem for --txt; for --xmp the sidecar "
        "that is there, else full]",
    ),
]
Hierarchy = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Separator between the levels of a label in XMP; empty for none [default: |]",
    ),
]
Gallery = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Also write an HTML page of thumbnails with their tags."),
]
ScoresFile = Annotated[
    str | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Also write the scores of all labels to a .parquet file, from which `twl retag` makes "
        "tags at other thresholds, without the images.",
    ),
]
Unordered = Annotated[
    bool,
    typer.Option(
        "--unordered",
        help="Write rows as they are ready, so that a slow image does not delay the others.",
    ),
]
Errors = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Write a CSV of the images that cannot be read, with the reason."
    ),
]
Bom = Annotated[
    bool,
    typer.Option(
        "--bom",
        help="Begin CSV files with a byte order mark, from which Excel knows that they are UTF-8.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace output files that exist.")]

JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Where progress is recorded, so that the same command continues after an interruption "
        "[default: FILE.journal for --out FILE; .twl-journal in the folder for sidecars alone]",
    ),
]
NoJournal = Annotated[bool, typer.Option("--no-journal", help="Record no progress.")]
ContentHash = Annotated[
    bool,
    typer.Option(
        "--hash", help="Detect changed files by a hash of their content, not by size and time."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Retry images that could not be read before.")
]

TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=0.1,
        metavar="SECONDS",
        help="Longest time to decode one image [default: 60]",
    ),
]
MemoryLimit = Annotated[
    int | None,
    typer.Option(
        "--memory-limit",
        min=256,
        metavar="MB",
        help="Most memory to decode one image [default: 4096]",
    ),
]

"""What `tag_files` can write; each is given to it in `outputs`."""

from twlcli.tagging.outputs.csv import Csv, FailureTable
from twlcli.tagging.outputs.fiftyone import FiftyOne
from twlcli.tagging.outputs.gallery.page import Gallery
from twlcli.tagging.outputs.jsonl import Jsonl
from twlcli.tagging.outputs.label_studio import LabelStudio, LabelStudioConfig
from twlcli.tagging.outputs.output import Output, RunFacts, Sink
from twlcli.tagging.outputs.parquet import Parquet
from twlcli.tagging.outputs.review.output import Review
from twlcli.tagging.outputs.scores import ScoreTable
from twlcli.tagging.outputs.txt import TxtSidecars
from twlcli.tagging.outputs.uploaded import Uploaded
from twlcli.tagging.outputs.xmp.inside import EmbeddedXmp
from twlcli.tagging.outputs.xmp.writer import XmpSidecars

__all__ = [
    "Csv",
    "EmbeddedXmp",
    "FailureTable",
    "FiftyOne",
    "Gallery",
    "Jsonl",
    "LabelStudio",
    "LabelStudioConfig",
    "Output",
    "Parquet",
    "Review",
    "RunFacts",
    "ScoreTable",
    "Sink",
    "TxtSidecars",
    "Uploaded",
    "XmpSidecars",
]

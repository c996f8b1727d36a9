"""twl: train, evaluate, export and run multi-label image taggers.

    import twlcli

    tagger = twlcli.load_model("voc.onnx")
    tagger.tag(["a.jpg", "b.jpg"])

What is in `__all__` is public and keeps working: a name is removed or changed only after a release
that warns of it. Everything else may change with any release. Names are loaded when they are first
used, so that `import twlcli` costs nothing; what needs the `train` extra says so when it is used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twlcli import errors, losses, metrics, outputs
    from twlcli.annotations.annotations import Annotations
    from twlcli.annotations.detect import read_labels
    from twlcli.checking.check import check_labels
    from twlcli.checking.split import split_labels
    from twlcli.cluster.run import tag_on_ray
    from twlcli.comparison.run import compare
    from twlcli.errors import TwlError
    from twlcli.exporting.adopt import adopt
    from twlcli.exporting.bundle import export_bundle
    from twlcli.exporting.onnx import export
    from twlcli.exporting.smaller import export_fp16, export_int8
    from twlcli.inference.tagger import Prediction, Tagger, load_model
    from twlcli.paired.run import evaluate_models
    from twlcli.probing.run import probe
    from twlcli.recipe import Recipe, read_recipe
    from twlcli.report.run import evaluate
    from twlcli.tagging.merge import merge
    from twlcli.tagging.retag import retag
    from twlcli.tagging.run import tag_files
    from twlcli.tagging.untag import untag
    from twlcli.training.run import resume, train

__version__ = "0.1.0"

# ONNX Runtime since 1.32 notes an identifier of the machine in the user's folder and sends it, and
# what is run, to its makers. Read when it is loaded; whoever wants to send it sets 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Annotations": "annotations.annotations",
    "Prediction": "inference.tagger",
    "Recipe": "recipe",
    "Tagger": "inference.tagger",
    "TwlError": "errors",
    "adopt": "exporting.adopt",
    "check_labels": "checking.check",
    "compare": "comparison.run",
    "evaluate": "report.run",
    "evaluate_models": "paired.run",
    "export": "exporting.onnx",
    "export_bundle": "exporting.bundle",
    "export_fp16": "exporting.smaller",
    "export_int8": "exporting.smaller",
    "load_model": "inference.tagger",
    "merge": "tagging.merge",
    "probe": "probing.run",
    "read_labels": "annotations.detect",
    "read_recipe": "recipe",
    "resume": "training.run",
    "retag": "tagging.retag",
    "split_labels": "checking.split",
    "tag_files": "tagging.run",
    "tag_on_ray": "cluster.run",
    "train": "training.run",
    "untag": "tagging.untag",
}
_MODULES = ("errors", "losses", "metrics", "outputs")

__all__ = [
    "Annotations",
    "Prediction",
    "Recipe",
    "Tagger",
    "TwlError",
    "__version__",
    "adopt",
    "check_labels",
    "compare",
    "errors",
    "evaluate",
    "evaluate_models",
    "export",
    "export_bundle",
    "export_fp16",
    "export_int8",
    "load_model",
    "losses",
    "merge",
    "metrics",
    "outputs",
    "probe",
    "read_labels",
    "read_recipe",
    "resume",
    "retag",
    "split_labels",
    "tag_files",
    "tag_on_ray",
    "train",
    "untag",
]


def __getattr__(name: str) -> Any:
    from twlcli.errors import needs_extra

    if name in _MODULES:
        with needs_extra(f"twlcli.{name}", "train"):
            return importlib.import_module(f"twlcli.{name}")
    if name in _HOMES:
        with needs_extra(f"twlcli.{name}", "train"):
            value = getattr(importlib.import_module(f"twlcli.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'twlcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

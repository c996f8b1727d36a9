"""The public API: what is promised of `import twlcli`."""

import csv
import json
import logging
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import twlcli

IMPORT_IT = """
import json, sys, time
start = time.perf_counter()
import twlcli
seconds = time.perf_counter() - start
heavy = {"numpy", "torch", "PIL", "onnxruntime", "pydantic", "rich", "typer"} & set(sys.modules)
print(json.dumps([seconds, sorted(heavy)]))
"""
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))  # None: cannot be imported
import twlcli
try:
    {call}
except twlcli.TwlError as error:
    print(type(error).__name__, error)
"""
TRAINING = ("torch", "torchvision", "onnx", "onnxscript", "safetensors")


def python(code: str, folder: Path | None = None) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder
    ).stdout


def test_import_is_quick_and_loads_nothing_heavy():
    seconds, heavy = min(json.loads(python(IMPORT_IT)) for _ in range(3))
    assert heavy == []
    assert seconds < 0.03


def test_every_public_name_is_there_and_described():
    assert set(twlcli.__all__) <= set(dir(twlcli))
    for name in twlcli.__all__:
        found = getattr(twlcli, name)
        assert name == "__version__" or found.__doc__


def test_only_public_names_are_listed():
    assert dir(twlcli) == sorted(twlcli.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nosuch"):
        twlcli.nosuch  # noqa: B018


@pytest.mark.parametrize(
    "call",
    [
        'twlcli.train("labels.csv")',
        'twlcli.export("run", "a.onnx")',
        'twlcli.export_int8("run", "a.onnx")',
        'twlcli.export_bundle("run", "wd", "a")',
        'twlcli.compare("labels.csv")',
        'twlcli.load_model("a.safetensors")',
        "twlcli.losses.TwoWayLoss()",
        "twlcli.metrics.MeanAveragePrecision()",
    ],
)
def test_without_the_extra_python_gets_one_clear_error(call, tmp_path):
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\n")
    (tmp_path / "a.safetensors").touch()
    said = python(WITHOUT.format(missing=TRAINING, call=call), tmp_path)
    if call.startswith("twlcli.metrics"):
        assert said == ""  # they are NumPy's
    else:
        assert said.startswith("MissingExtraError ")
        assert said.rstrip().endswith("pip install 'twlcli[train]'")


def test_errors_travel_between_processes():
    for error in (
        twlcli.errors.MissingExtraError("training", "train"),
        twlcli.errors.InterruptedRunError("stopped", Path("runs/a")),
        twlcli.TwlError("a.csv: exists already", hint="use {force} to replace it"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_nothing_global_is_set():
    def state() -> list[object]:
        return [
            csv.field_size_limit(),
            list(logging.getLogger("PIL").handlers),
            list(logging.getLogger().handlers),
            random.getstate(),
            repr(np.random.get_state()),
        ]

    before = state()
    for name in twlcli.__all__:
        getattr(twlcli, name)
    assert state() == before

import numpy as np
import pytest

from tests.tagging.models import SPEC, write_model
from twlcli.errors import TwlError
from twlcli.model.spec import ModelSpec
from twlcli.paired.names import is_model, models_and_data, short_names
from twlcli.scoring.score_table import score_groups


def write_stored(path, spec: ModelSpec = SPEC):
    pytest.importorskip("pyarrow")
    with path.open("wb") as file, score_groups(file, spec, "0") as groups:
        groups.add("r.png", np.zeros(len(spec.vocabulary), dtype=np.float32))
    return path


@pytest.fixture
def paths(tmp_path):
    """A path of each kind, by name."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    run, data = tmp_path / "run", tmp_path / "data.onnx"
    for folder in (run, data):
        folder.mkdir()
    for name in ("recipe.toml", "model.safetensors"):
        (run / name).touch()
    (data / "recipe.toml").touch()
    labels = tmp_path / "labels.parquet"
    parquet.write_table(pyarrow.table({"image": ["a.jpg"], "labels": ["cat"]}), labels)
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\na.jpg,cat\n")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1" + b"\xff" * 4 + b"PAR1")
    empty = tmp_path / "empty.parquet"
    empty.touch()
    return {
        "model": write_model(tmp_path / "a.onnx"),
        "scores": write_stored(tmp_path / "scores.parquet"),
        "run": run,
        "data": data,
        "labels": labels,
        "table": table,
        "broken": broken,
        "empty": empty,
        "gone.onnx": tmp_path / "gone.onnx",
        "gone.csv": tmp_path / "gone.csv",
        "gone.parquet": tmp_path / "gone.parquet",
        "checkpoint": tmp_path / "b.safetensors",
        "bundled": type(run)("shapes-small"),
    }


def test_what_is_inside_tells_models_from_data(paths):
    models = {name for name, path in paths.items() if is_model(path)}
    assert models == {"model", "scores", "run", "gone.onnx", "checkpoint", "bundled"}


@pytest.mark.parametrize(
    ("given", "models", "data"),
    [
        ("model", "model", None),
        ("table", "table", None),  # as with one path before: it is tried as a model
        ("model table", "model", "table"),
        ("scores labels", "scores", "labels"),
        ("labels scores", "labels scores", None),
        ("model scores", "model scores", None),
        ("model run data", "model run", "data"),
        ("run run", "run run", None),
        ("model gone.onnx", "model gone.onnx", None),
        ("model gone.csv", "model", "gone.csv"),
        ("bundled model table", "bundled model", "table"),
    ],
)
def test_the_last_path_is_data_unless_it_is_a_model(paths, given, models, data):
    found = models_and_data([paths[name] for name in given.split()])
    assert found == ([paths[name] for name in models.split()], paths[data] if data else None)


@pytest.mark.parametrize("given", ["model table run", "model table labels", "run data run"])
def test_data_between_models_are_refused(paths, given):
    with pytest.raises(TwlError, match="is no model; labelled images come last, and once"):
        models_and_data([paths[name] for name in given.split()])


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a.onnx", "b.onnx"], ["a.onnx", "b.onnx"]),
        (["runs/a", "runs/b", "x/c.onnx"], ["a", "b", "c.onnx"]),
        (["old/m.onnx", "new/m.onnx", "m2.onnx"], ["old/m.onnx", "new/m.onnx", "m2.onnx"]),
        (["x/a/m", "y/a/m", "y/b/m"], ["x/a/m", "y/a/m", "b/m"]),
        (["m", "x/m"], ["m", "x/m"]),
        (["m", "m", "n"], ["m (1)", "m (2)", "n"]),
        ([".", ".."], [".", ".."]),
    ],
)
def test_names_are_short_and_tell_models_apart(models, names):
    assert short_names(models) == tuple(names)

"""The recipes for other engines in the documentation, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, blocks_of
from twlcli.images.discover.scan import scan
from twlcli.inference.tagger import load_model
from twlcli.model.bundled import model_path
from twlcli.shapes.sample import draw

PAGE = ROOT / "docs/cluster.md"
MODEL = model_path("shapes-small")


def recipe(package: str) -> str:
    imports = re.compile(rf"^(import|from) {package}\b", re.MULTILINE)
    (block,) = [each for each in blocks_of(PAGE) if imports.search(each.text)]
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 20
    return block.text


@pytest.fixture
def world(tmp_path: Path) -> Path:
    draw(tmp_path / "sample", count=20)
    shutil.copytree(tmp_path / "sample/images", tmp_path / "photos")
    (tmp_path / "photos/bad.jpg").write_text("no image")
    shutil.copy(MODEL, tmp_path / "shapes.onnx")
    return tmp_path


def check(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Rows of path, labels, probabilities and error, against a Tagger in this process."""
    files = list(scan([folder / "photos"]))
    assert len(rows) == len(files)
    by_name = {row["path"].rpartition("/")[2]: row for row in rows}
    found = load_model(MODEL).tag([each.path for each in files])
    for file, expected in zip(files, found, strict=True):
        row = by_name[file.path.name]
        assert tuple(row["labels"]) == expected.labels
        assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
        assert (row["error"] is None) == (expected.error is None)


def run(package: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", recipe(package)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr


def test_daft(world):
    pytest.importorskip("daft", reason="Daft is not installed: make test-ray")
    from pyarrow import dataset

    run("daft", world)
    rows = dataset.dataset(world / "daft-tags").to_table().to_pylist()
    check(world, [{"path": row["path"], **row["tags"]} for row in rows])


def test_spark(world):
    pytest.importorskip("pyspark", reason="Spark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    from pyarrow import dataset

    run("pyspark", world)
    check(world, dataset.dataset(world / "spark-tags").to_table().to_pylist())

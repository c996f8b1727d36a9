"""Models of the hub, from one on this machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.encoded import encode, picture
from tests.model.foreign.graphs import write_graph
from tests.model.hub import COMMIT, serving
from twlcli.errors import ModelError
from twlcli.model.hub import downloaded

TAGS = "tag_id,name,category,count\n1,general,9,10\n2,explicit,9,3\n3,1girl,0,9\n4,a_(b),4,8\n"
NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    for place in ("me/wd", "me/several/v1", "me/several/v2"):
        (folder / place).mkdir(parents=True)
        write_graph(
            folder / place / "model.onnx",
            labels=4,
            side=64,
            channels_first=False,
            ending="Sigmoid",
            scale=0.002,
        )
        (folder / place / "selected_tags.csv").write_text(TAGS)
    (folder / "me/several/v2/selected_tags.csv").write_text(TAGS.replace("1girl", "2girls"))
    (folder / "me/wd/unrelated.bin").write_bytes(bytes(1000))
    (folder / "me/none").mkdir()
    (folder / "me/none/README.md").write_text("nothing")
    (folder / "a.png").write_bytes(encode(picture(90, 80), "PNG"))
    return folder


def tag(hub: Path, home: Path, model: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twlcli", "tag", str(hub / "a.png"), "--model", model]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_model_is_downloaded_once_with_what_it_needs(hub, tmp_path):
    with serving(hub) as (address, asked):
        first = tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address)
        assert first.returncode == 0, first.stderr
        got = [each for each in asked if each.startswith("GET /me/")]
        assert [each.rpartition("/")[2] for each in got] == ["selected_tags.csv", "model.onnx"]
        asked.clear()
        again = tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address)
        assert not [each for each in asked if each.startswith("GET /me/")]
    local = tag(hub, tmp_path, str(hub / "me/wd"))
    assert "1 tagged" in local.stderr
    assert first.stdout == again.stdout == local.stdout


@pytest.mark.parametrize(
    "away", [NOWHERE, pytest.param({"HF_HUB_OFFLINE": "1"}, marks=pytest.mark.slow)]
)
def test_it_is_there_without_the_hub(hub, tmp_path, away):
    with serving(hub) as (address, _):
        first = tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address)
    later = tag(hub, tmp_path, "hf:me/wd", **away)
    assert (later.returncode, later.stdout) == (0, first.stdout)
    other = tag(hub, tmp_path, "hf:me/wd@v2", **away)
    assert other.returncode == 2
    assert "hf:me/wd@v2: was never downloaded, and the hub cannot be reached" in other.stderr


def test_one_of_several_models_is_named_by_its_folder_or_file(hub, tmp_path):
    with serving(hub) as (address, _):
        for model in ("hf:me/several/v2", "hf:me/several/v2/model.onnx@main"):
            found = tag(hub, tmp_path, model, HF_ENDPOINT=address)
            assert found.returncode == 0, found.stderr
        unnamed = tag(hub, tmp_path, "hf:me/several", HF_ENDPOINT=address)
    assert (tmp_path / f"hub/models--me--several/snapshots/{COMMIT}/v2").is_dir()
    assert not (tmp_path / f"hub/models--me--several/snapshots/{COMMIT}/v1").exists()
    assert "name one of its files after hf:me/several/: v1/model.onnx, v2/model" in unnamed.stderr


def test_what_is_not_there_is_said(hub, tmp_path):
    with serving(hub) as (address, _):
        nothing = tag(hub, tmp_path, "hf:me/nothing", HF_ENDPOINT=address)
        none = tag(hub, tmp_path, "hf:me/none", HF_ENDPOINT=address)
    assert "hf:me/nothing: there is no such model on the hub, or it is private" in nothing.stderr
    assert "has no model.onnx; it has no ONNX file, which twl needs" in none.stderr


def test_what_came_damaged_is_not_kept(hub, tmp_path):
    with serving(hub, digest="0" * 64) as (address, _):
        damaged = tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address)
    assert damaged.returncode == 2
    assert "model.onnx came damaged: it differs from the hub's digest" in damaged.stderr
    assert not any(each.name.endswith(".onnx") for each in tmp_path.rglob("*"))
    with serving(hub) as (address, _):
        assert tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address).returncode == 0


def test_an_odd_hub_writes_nothing_elsewhere(hub, tmp_path):
    with serving(hub, commit="../../x") as (address, _):
        found = tag(hub, tmp_path, "hf:me/wd", HF_ENDPOINT=address)
    assert found.returncode == 2
    assert "the hub names a version '../../x', expected a digest" in found.stderr
    assert not [each for each in tmp_path.rglob("*.onnx*") if each.is_file()]


def test_a_file_of_the_name_wins(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hf:me").mkdir()
    Path("hf:me/wd").symlink_to(hub / "me/wd")
    found = tag(hub, tmp_path, "hf:me/wd", **NOWHERE)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    "address", ["hf:wd", "hf:me/wd/../x", "hf:me//wd", "hf:me/wd@", "hf:me/wd/./x", "hf:m e/wd"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ModelError, match=rf"{re.escape(address)}: is no model of the hub; expect"):
        downloaded(address)

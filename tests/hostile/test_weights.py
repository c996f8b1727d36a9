"""Weights, checkpoints and states to resume that strangers made."""

import errno
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.training.test_trainer import ALONE, Silent, begin
from twlcli.errors import ModelError
from twlcli.labels import Vocabulary
from twlcli.model.backbones import build_backbone
from twlcli.model.checkpoint import is_checkpoint, load_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, ModelSpec
from twlcli.model.weights import load_weights
from twlcli.runs.run_folder import Run
from twlcli.runs.states import read_state, write_state
from twlcli.training.trainer import Trainer

BACKBONE = "shufflenet_v2_x0_5"


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


def cycle() -> dict[str, object]:
    values: dict[str, object] = {}
    values["model"] = values
    return values


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(150):
        value = [value]
    return value


@pytest.fixture(scope="module")
def network():
    return build_backbone(BACKBONE, 2, image_size=32)


@pytest.mark.parametrize(
    "values", [{}, [], 3, None, {1: torch.zeros(1)}, {"a": 1}, {"model": {}}, cycle(), deep()]
)
def test_what_holds_no_weights_is_refused(tmp_path, network, values):
    torch.save(values, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth: .*expected|w\.pth: holds no state dict"):
        load_weights(network, BACKBONE, str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x80\x02.", b"\x80\x02e.", b"\x80\x02K\x01Q.", b"\x80\x02]K\x01a.", b"\x80\xff"),
        *(b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\0" * 100, b"(" * 100_000),
        pickle.dumps(Payload(), protocol=2),
        pickle.dumps({"a": Payload()}, protocol=2),
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02c__builtin__\neval\nX\x08\x00\x00\x00open('a')\x85R.",
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_bytes_that_are_no_weights_are_refused_and_nothing_runs(
    tmp_path, network, name, content, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="not a file of weights alone") as error:
        load_weights(network, BACKBONE, name)
    assert "weights_only" not in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def save_compressed(path):
    """4 MiB of zeros as torch saves them, in an archive that is compressed."""
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(1 << 20)}, whole)
    with zipfile.ZipFile(whole) as saved, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small:
        for name in saved.namelist():
            small.writestr(name, saved.read(name))


def test_a_small_archive_does_not_fill_the_memory(tmp_path, network):
    save_compressed(tmp_path / "small.pth")
    with pytest.raises(ModelError, match="not a file of weights alone"):
        load_weights(network, BACKBONE, str(tmp_path / "small.pth"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_weights_are_a_regular_file(tmp_path, network, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelError, match="is not a regular file"):
        load_weights(network, BACKBONE, str(tmp_path / name))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "run/model.safetensors"])
def test_far_more_weights_than_the_network_has_are_not_read(tmp_path, network, name):
    """A file with holes; it ended as "out of memory"."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    tensor = {"dtype": "F32", "shape": [10 << 30], "data_offsets": [0, 40 << 30]}
    header = json.dumps({"a": tensor}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    try:
        os.truncate(path, 8 + len(header) + (40 << 30))
    except OSError:
        pytest.skip("no files with holes here")
    weights = path.parent if "/" in name else path
    message = r"has 40,960 MiB; expected at most \d+ for this backbone"
    with pytest.raises(ModelError, match=message):
        load_weights(network, BACKBONE, str(weights))


@pytest.mark.parametrize("read", [is_checkpoint, load_checkpoint])
def test_a_checkpoint_that_is_kept_closed_is_one_line(tmp_path, read, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.touch()

    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)  # the superuser may open all
    with pytest.raises(ModelError, match=r"m\.safetensors: cannot be read \(Permission denied\)"):
        read(path)


def checkpoint(path, labels, tensors):
    vocabulary = Vocabulary(tuple(f"label {n}" for n in range(labels)))
    spec = ModelSpec(vocabulary, BACKBONE, Preprocessing(resize=32, crop=32))
    save_file(tensors, path, metadata={SPEC_KEY: spec.to_json()})
    return path


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells")
@pytest.mark.parametrize("tensors", [{}, {"fc.weight": torch.zeros(200_000, 1)}])
def test_labels_without_weights_take_no_memory(tmp_path, tensors):
    """The head would take 800 MB."""
    path = checkpoint(tmp_path / "m.safetensors", 200_000, tensors)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = peak()
    with pytest.raises(ModelError, match="its weights do not fit a shufflenet"):
        load_checkpoint(path)
    assert peak() - before < 400 << 10


def peak() -> int:
    """The most memory that this process has held, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_headers_that_lie_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    for header in (b"\xff" * 8, (1 << 40).to_bytes(8, "little"), (8).to_bytes(8, "little")):
        path.write_bytes(header + b'{"a": 1}')
        with pytest.raises(ModelError, match=r"m\.safetensors: not a safetensors checkpoint"):
            load_checkpoint(path)


def test_a_spec_that_repeats_its_keys_is_refused(tmp_path):
    spec = {"version": 1, "labels": ["a"]}
    text = json.dumps(spec)[:-1] + ', "labels": ["b"]}'
    save_file({}, tmp_path / "m.safetensors", metadata={SPEC_KEY: text})
    with pytest.raises(ModelError, match="key 'labels' is there twice"):
        load_checkpoint(tmp_path / "m.safetensors")


@pytest.fixture(scope="module")
def saved(tmp_path_factory, photographs):
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("run") / "run"
    begin(folder, photographs, "schedule.epochs=1", "model.backbone=squeezenet1_1").train()
    return folder


def without(name):
    return lambda values: values.pop(name)


def changed(name, value):
    return lambda values: values.update({name: value})


def progress(name, value):
    return lambda values: values["progress"].update({name: value})


NOT_A_TABLE: tuple[Any, ...] = (None, 3, [])
OTHER_VALUES: dict[str, tuple[Any, ...]] = {
    "progress": (*NOT_A_TABLE, {}, {"a": 1}),
    "network": (*NOT_A_TABLE, {}, {"a": torch.zeros(1)}),
    "optimizer": (*NOT_A_TABLE, {}, {"state": {}}),
    "average": (*NOT_A_TABLE, {}),
    "data": (*NOT_A_TABLE, {}, {"labels": 3, "digest": 3}),
    "recipe": (None, 3, ["a"]),
}
OTHER_PROGRESS: dict[str, tuple[Any, ...]] = {
    "epoch": (-1, "1", 0.5, None),
    "history": (None, {}, 3),
    "best": ("best",),
    "more": (1,),
}


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in ("progress", "network", "optimizer", "average")),
        *(changed(name, value) for name, values in OTHER_VALUES.items() for value in values),
        *(progress(name, value) for name, values in OTHER_PROGRESS.items() for value in values),
    ],
)
def test_a_state_of_somebody_else_is_refused_in_one_line(saved, change):
    run = Run.open(saved)
    before = (saved / "state.pt").read_bytes()
    values = read_state(saved, ALONE.device).values
    change(values)
    try:
        write_state(saved, values)
        (saved / "state-older.pt").unlink()
        with pytest.raises(ModelError) as error:
            Trainer(run, ALONE, Silent(), resumed=True)
        assert "\n" not in str(error.value)
    finally:
        (saved / "state.pt").write_bytes(before)


def test_values_that_are_no_state_are_refused(saved):
    before = (saved / "state.pt").read_bytes()
    try:
        for values in (*NOT_A_TABLE, torch.zeros(1)):
            torch.save(values, saved / "state.pt")
            with pytest.raises(ModelError):
                Trainer(Run.open(saved), ALONE, Silent(), resumed=True)
    finally:
        (saved / "state.pt").write_bytes(before)

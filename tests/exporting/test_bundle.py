"""Where bundles are written, and what is refused."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from tests.exporting.finished import finished
from twlcli.errors import ModelError, TwlError
from twlcli.exporting import triton, wd
from twlcli.exporting.bundle import export_bundle
from twlcli.model.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("run"), "squeezenet1_1")


@pytest.fixture
def quick(monkeypatch):
    """The files of WD taggers, without a network."""

    def write(source, network, spec, folder):
        for name in wd.FILES:
            (folder / name).write_text("new")

    monkeypatch.setattr(wd, "write_wd", write)


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


NEW = {"model.onnx": "new", "selected_tags.csv": "new"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_filled(source, tmp_path, quick, exists):
    folder = tmp_path / "bundle"
    if exists:
        folder.mkdir()
    made = export_bundle(source, "wd", folder)
    assert files_of(tmp_path) == {f"bundle/{name}": text for name, text in NEW.items()}
    assert (made.folder, made.kind, made.size) == (folder, "wd", 6)
    assert made.files == (folder / "model.onnx", folder / "selected_tags.csv")
    usual = tmp_path / "usual"
    usual.mkdir()
    assert folder.stat().st_mode == usual.stat().st_mode


def test_the_current_folder_can_be_the_one(source, tmp_path, quick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_bundle(source, "wd", ".")
    assert files_of(tmp_path) == NEW


def test_force_replaces_the_files_of_the_bundle_alone(source, tmp_path, quick):
    (tmp_path / "model.onnx").write_text("old")
    (tmp_path / "LICENSE").write_text("mine")
    with pytest.raises(TwlError, match=r"is not empty; `force` replaces the files of a bundle"):
        export_bundle(source, "wd", tmp_path)
    assert files_of(tmp_path) == {"model.onnx": "old", "LICENSE": "mine"}
    export_bundle(source, "wd", tmp_path, force=True)
    assert files_of(tmp_path) == {**NEW, "LICENSE": "mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LICENSE", *NEW]


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_stays_where_it_goes_wrong(source, tmp_path, monkeypatch, exists):
    def write(source, network, spec, folder):
        (folder / "model.onnx").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wd, "write_wd", write)
    if exists:
        (tmp_path / "bundle").mkdir()
    with pytest.raises(TwlError, match=r"bundle: cannot be written \(.*space"):
        export_bundle(source, "wd", tmp_path / "bundle")
    assert files_of(tmp_path) == {}
    assert len(list(tmp_path.iterdir())) == exists


def test_a_run_is_not_overwritten(source, quick):
    before = source.read_bytes()
    with pytest.raises(TwlError, match="has a checkpoint of twl; expected another folder"):
        export_bundle(source, "wd", source.parent, force=True)
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.iterdir()] == ["model.safetensors"]


def test_weights_of_another_program_are_no_run(source, tmp_path, quick):
    save_file({"a": zeros(1)}, tmp_path / "model.safetensors")
    export_bundle(source, "wd", tmp_path, force=True)
    assert (tmp_path / "model.onnx").read_text() == "new"


def test_what_stands_in_the_way_is_named(source, tmp_path, quick):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(TwlError, match="file: is not a folder"):
        export_bundle(source, "wd", file)
    with pytest.raises(TwlError, match=r"none/bundle: there is no folder .*none"):
        export_bundle(source, "wd", tmp_path / "none/bundle")
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(TwlError, match=r"model\.onnx: is a folder, expected the name of a file"):
        export_bundle(source, "wd", tmp_path, force=True)
    (tmp_path / "1").write_text("")
    with pytest.raises(TwlError, match="1: is not a folder"):
        export_bundle(source, "triton", tmp_path, force=True)
    assert triton.FILES[1] == "1/model.onnx"


def test_models_that_cannot_be_exported_are_refused(source, tmp_path):
    with pytest.raises(TwlError, match="there is no bundle 'x'; expected hf, wd, triton or web"):
        export_bundle(source, "x", tmp_path / "a")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no such model"):
        export_bundle(tmp_path / "none.safetensors", "wd", tmp_path / "a")
    padded = finished(
        tmp_path, "squeezenet1_1", preprocessing=Preprocessing(64, 64, "bicubic", fit="pad")
    )
    with pytest.raises(ModelError, match="images are not cut for it"):
        export_bundle(padded, "wd", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]

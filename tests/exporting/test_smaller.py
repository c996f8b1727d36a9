import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.exporting import smaller as module
from twlcli.exporting.int8_graph import write_int8
from twlcli.exporting.smaller import Measured, Smaller, Wishes, shrink
from twlcli.inference.scored import score_images
from twlcli.labels import LabelMatrix
from twlcli.model.onnx import OnnxPredictor
from twlcli.runs.labelled import Labelled
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of
from twlcli.scoring.evaluation import score
from twlcli.scoring.fit import fit

ANY_DROP = Wishes(accept_drop=True)


@pytest.fixture
def fast(small_export, tmp_path: Path, monkeypatch) -> Path:
    """Instead of exporting again, a copy; and the folder that holds temporary files."""

    def copy(source, out, *, opset, allow_code):
        shutil.copyfile(small_export.path, out)
        return small_export

    monkeypatch.setattr(module, "export", copy)
    monkeypatch.setattr(module, "_TIMED_ROUNDS", 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


@pytest.fixture
def data(photographs):
    return Labelled(read_labels(photographs).split("val"), "val")


def with_changes(data: Labelled, **changes) -> Labelled:
    return Labelled(replace(data.annotations, **changes), data.split)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_figures_are_those_of_eval_and_the_spec_is_fitted_to_the_int8_model(
    small_export, fast, data, tmp_path
):
    done: list[int] = []
    made = shrink("int8", Path("run"), tmp_path / "a.onnx", data, ANY_DROP, progress=done.append)
    assert sum(done) == 2 * len(data.annotations) == 2 * made.images
    for path, measured in ((small_export.path, made.before), (made.path, made.after)):
        predictor = OnnxPredictor(path)
        scores = score(score_images(predictor, data.annotations, workers=1), predictor.spec)
        assert measured.map_class == scores.map_class.value
        assert measured.map_sample == scores.map_sample.value
        assert measured.size == path.stat().st_size
        assert measured.images_per_second > 0
    predictor = OnnxPredictor(made.path)
    scored = score_images(predictor, data.annotations, batch_size=8, workers=1)
    fitted = fit(scored.logits, scored.targets, small_export.spec)
    assert fitted.calibration == predictor.spec.calibration != small_export.spec.calibration
    assert fitted.thresholds == predictor.spec.thresholds != small_export.spec.thresholds
    assert predictor.spec == made.spec
    seen = small_export.spec.provenance.get(SEEN_KEY, {})
    assert predictor.spec.provenance == {
        **small_export.spec.provenance,
        SEEN_KEY: {**seen, "fitted": sample_of(hashes_of(data.annotations))},
        "quantisation": {
            "data": "labels.csv",
            "images": 10,
            "range_images": 10,
            "float32": {"map_class": made.before.map_class, "map_sample": made.before.map_sample},
            "int8": {"map_class": made.after.map_class, "map_sample": made.after.map_sample},
        },
    }
    assert files(tmp_path) == {"a.onnx"}
    assert not list(fast.iterdir())


def test_nothing_is_fitted_to_images_that_the_model_was_trained_on(
    small_export, fast, data, tmp_path, monkeypatch
):
    seen = {"training": sample_of(hashes_of(data.annotations))}
    trained = replace(small_export.spec, provenance={SEEN_KEY: seen})
    exported = replace(small_export, spec=trained)

    def copy(source, out, **options):
        shutil.copyfile(small_export.path, out)
        return exported

    monkeypatch.setattr(module, "export", copy)
    made = shrink("int8", Path("run"), tmp_path / "a.onnx", data, ANY_DROP)
    assert not made.is_fitted
    spec = OnnxPredictor(made.path).spec
    assert (spec.calibration, spec.thresholds) == (trained.calibration, trained.thresholds)
    assert spec.provenance[SEEN_KEY] == seen and "quantisation" in spec.provenance


def test_larger_drop_is_refused_unless_accepted(fast, data, tmp_path, monkeypatch):
    def fake_maps():
        maps = [{"map_class": 0.8, "map_sample": 0.9}, {"map_class": 0.785, "map_sample": 0.5}]
        answers = iter(maps)
        monkeypatch.setattr(module, "map_scores", lambda scored: next(answers))

    fake_maps()
    monkeypatch.setattr(module, "write_int8", lambda model, out, *_: shutil.copyfile(model, out))
    out = tmp_path / "a.onnx"
    with pytest.raises(
        ModelError, match=r"run: int8 loses 1\.50 points of mAP@class \(80\.00 to 78\.50\), more"
    ):
        shrink("int8", Path("run"), out, data, Wishes())
    assert files(tmp_path) == set()
    assert not list(fast.iterdir())
    for options in ({"max_drop": 1.6}, {"accept_drop": True, "force": True}):
        fake_maps()
        assert shrink("int8", Path("run"), out, data, Wishes(**options)).after.map_class == 0.785


def test_images_that_cannot_be_read_are_left_out(fast, data, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RANGE_IMAGES", 6)
    folder = tmp_path / "photographs"
    shutil.copytree(data.annotations.root, folder)
    (folder / data.annotations.images[3]).write_bytes(b"no picture")
    drawn: list[Path] = []

    def write(model, out, images, preprocessing):
        drawn.extend(images)
        write_int8(model, out, images, preprocessing)

    monkeypatch.setattr(module, "write_int8", write)
    made = shrink(
        "int8", Path("run"), tmp_path / "a.onnx", with_changes(data, root=folder), ANY_DROP
    )
    assert [each.image for each in made.unreadable] == [data.annotations.images[3]]
    assert (made.images, made.range_images) == (9, 6)
    assert len(set(drawn)) == 6
    assert folder / data.annotations.images[3] not in drawn


def test_images_without_labels_are_refused(fast, data, tmp_path):
    labels = LabelMatrix(
        np.zeros(len(data.annotations) + 1, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.int8),
        3,
    )
    with pytest.raises(AnnotationError, match=r"labels\.csv: none of the 10 images has a label"):
        shrink(
            "int8", Path("run"), tmp_path / "a.onnx", with_changes(data, labels=labels), Wishes()
        )
    assert files(tmp_path) == set()
    assert not list(fast.iterdir())


def test_interruption_leaves_nothing(fast, data, tmp_path):
    seen: list[int] = []

    def stop(done: int) -> None:
        seen.append(done)
        if sum(seen) > len(data.annotations):  # while the int8 model is measured
            assert list(fast.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink("int8", Path("run"), tmp_path / "a.onnx", data, Wishes(), progress=stop)
    assert files(tmp_path) == set()
    assert not list(fast.iterdir())


def test_file_that_may_not_be_written_is_refused_first(data, tmp_path):
    out = tmp_path / "a.onnx"
    out.write_text("precious")
    with pytest.raises(TwlError, match=r"a\.onnx: exists already; use `force`"):
        shrink("int8", Path("no run"), out, data, Wishes())
    with pytest.raises(TwlError, match="there is no folder"):
        shrink("int8", Path("no run"), tmp_path / "none" / "a.onnx", data, Wishes())
    assert out.read_text() == "precious"


def test_speedup_is_of_int8_over_float32(small_export):
    before, after = Measured(8, 10.0, 0.8, 0.9), Measured(2, 15.0, 0.79, 0.9)
    spec = small_export.spec
    made = Smaller("int8", Path("a"), spec, True, before, after, 9, 9, (), "a", "val")
    assert made.speedup == 1.5

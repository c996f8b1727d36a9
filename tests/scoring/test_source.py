import numpy as np
import pytest

import twlcli
from tests.tagging.models import SPEC, write_model
from twlcli.annotations.detect import read_labels
from twlcli.errors import ModelError, TwlError
from twlcli.outputs import ScoreTable
from twlcli.scoring.source import Running, open_source


def test_a_model_and_its_scores_say_the_same(photographs, tmp_path):
    pytest.importorskip("pyarrow")
    model, stored = write_model(tmp_path / "model.onnx"), tmp_path / "scores.parquet"
    twlcli.tag_files([photographs.parent], model=model, outputs=[ScoreTable(stored)])
    annotations = read_labels(photographs, vocabulary=SPEC.vocabulary)
    found = []
    for path in (model, stored):
        with open_source(path, Running()) as source:
            assert source.spec == SPEC
            found.append(source.score(annotations))
    assert found[0].images == found[1].images == annotations.images
    np.testing.assert_allclose(found[0].logits, found[1].logits, rtol=1e-6)
    np.testing.assert_array_equal(found[0].targets, found[1].targets)


@pytest.mark.parametrize(
    ("name", "running"),
    [("provider", Running(provider="cpu")), ("device", Running(device="cpu"))],
)
def test_scores_run_on_nothing(tmp_path, name, running):
    with (
        pytest.raises(TwlError, match=f"no model runs, and {name} has no meaning"),
        open_source(tmp_path / "scores.parquet", running),
    ):
        pass


def test_a_folder_is_no_file_of_scores(tmp_path):
    folder = tmp_path / "run.parquet"
    folder.mkdir()
    with pytest.raises(ModelError, match="no checkpoint yet"), open_source(folder, Running()):
        pass

"""Scores of a run as a table, and the journal that it goes on from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import twlcli
from tests.images.encoded import encode
from tests.tagging.models import SPEC, write_model
from twlcli.errors import TwlError
from twlcli.model.decisions import calibration_of, probabilities
from twlcli.outputs import ScoreTable
from twlcli.scoring.score_table import open_scores
from twlcli.tagging.fingerprint import model_digest
from twlcli.tagging.outputs.fan_out import Tally

pytest.importorskip("pyarrow")


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture
def photos(tmp_path) -> Path:
    folder: Path = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        color = (20 * number, 255 - 20 * number, 90)
        (folder / f"{number:02}.png").write_bytes(encode(Image.new("RGB", (30, 20), color), "PNG"))
    (folder / "bad.jpg").write_bytes(b"hello")
    return folder


def read(path: Path) -> tuple[list[str], np.ndarray]:
    with open_scores(path) as stored:
        batches = list(stored.batches)
    return [name for names, _ in batches for name in names], np.concatenate([r for _, r in batches])


def test_every_tagged_image_has_its_logits(model, photos, tmp_path):
    scores, tags = tmp_path / "scores.parquet", tmp_path / "tags.parquet"
    tally = twlcli.tag_files(
        [photos], model=model, outputs=[tags, ScoreTable(scores)], threshold=0, journal=None
    )
    assert (tally.tagged, tally.failed) == (12, 1)
    names, logits = read(scores)
    assert names == [f"{number:02}.png" for number in range(12)]
    table = pytest.importorskip("pyarrow.parquet").read_table(tags)
    certain = probabilities(logits, calibration_of(SPEC))
    for row, values in zip(table.to_pylist(), certain, strict=True):
        by_label = dict(zip(row["labels"], row["probabilities"], strict=True))
        assert [by_label[label] for label in SPEC.vocabulary] == values.tolist()
    with open_scores(scores) as stored:
        assert stored.spec == SPEC
        assert stored.model == model_digest([model])


def test_a_run_goes_on_from_its_journal_and_writes_the_same_bytes(model, photos, tmp_path):
    class StoppedError(Exception):
        pass

    class Stopping:
        def began(self, start):
            pass

        def failed(self, failure):
            pass

        def advanced(self, tally: Tally) -> None:
            if tally.tagged >= 4:
                raise StoppedError

    def run(name: str, **options) -> Tally:
        settings = {"batch_size": 2, "workers": 1, "top_k": 1, **options}
        outputs = [tmp_path / f"{name}.csv", ScoreTable(tmp_path / f"{name}.parquet")]
        return twlcli.tag_files([photos], model=model, outputs=outputs, **settings)

    run("whole")
    with pytest.raises(StoppedError):
        run("parts", watcher=Stopping())
    assert not (tmp_path / "parts.parquet").exists()
    tally = run("parts")
    assert tally.stored >= 4
    assert run("parts").stored == 13
    for suffix in (".csv", ".parquet"):
        whole, parts = (tmp_path / f"{name}{suffix}" for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_a_journal_without_logits_loses_and_lends_nothing(model, photos, tmp_path):
    tags, scores = tmp_path / "tags.csv", tmp_path / "scores.parquet"

    def stored(*outputs) -> int:
        return twlcli.tag_files([photos], model=model, outputs=[tags, *outputs]).stored

    assert stored() == 0
    before = tags.read_bytes()
    assert stored(ScoreTable(scores)) == 0  # of other runs there are no logits
    assert len(read(scores)[0]) == 12
    assert stored(ScoreTable(scores)) == 13
    assert stored() == 13
    assert tags.read_bytes() == before


def test_a_row_of_the_journal_that_is_damaged_is_told(model, photos, tmp_path):
    import sqlite3
    from contextlib import closing

    scores = ScoreTable(tmp_path / "scores.parquet")
    twlcli.tag_files([photos], model=model, outputs=[scores])
    journal = tmp_path / "scores.parquet.journal"
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("UPDATE rows SET tags = ? WHERE tags IS NOT NULL", (b"\0" * 9,))
    with pytest.raises(TwlError, match="corrupt"):
        twlcli.tag_files([photos], model=model, outputs=[scores])


def test_tag_rules_leave_scores_alone(model, photos, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('never = ["green"]\n[aliases]\nred = "rouge"\n')
    plain, ruled = tmp_path / "plain.parquet", tmp_path / "ruled.parquet"
    twlcli.tag_files([photos], model=model, outputs=[ScoreTable(plain)])
    twlcli.tag_files([photos], model=model, outputs=[ScoreTable(ruled)], rules=rules)
    np.testing.assert_array_equal(read(plain)[1], read(ruled)[1])


def test_only_parquet(tmp_path):
    with pytest.raises(TwlError, match=r"scores\.csv: expected a name that ends in \.parquet"):
        ScoreTable(tmp_path / "scores.csv")

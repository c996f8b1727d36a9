import re

import pytest

import twlcli
from tests.tagging.models import write_model
from twlcli.errors import TwlError


def test_evaluate_writes_a_report_of_what_it_returns(photographs, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    page = tmp_path / "report.html"
    evaluation = twlcli.evaluate(model, photographs, split="all", report=page)
    text = page.read_text()
    assert f"<b>{100 * evaluation.map_class.value:.2f}</b>" in text
    assert re.search(r"<dt>split</dt><dd><bdi>all</bdi></dd>", text)
    assert evaluation == twlcli.evaluate(model, photographs, split="all")
    with pytest.raises(TwlError, match="exists already"):
        twlcli.evaluate(model, photographs, split="all", report=page)
    assert page.read_text() == text
    twlcli.evaluate(model, photographs, split="all", report=str(page), force=True)
    assert page.read_text() == text  # the same numbers, the same bytes
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.onnx", "report.html"]


def test_scores_and_report_are_two_files(photographs, tmp_path):
    model, path = write_model(tmp_path / "model.onnx"), tmp_path / "scores.csv"
    with pytest.raises(TwlError, match="both for the scores and for the report"):
        twlcli.evaluate(model, photographs, scores=path, report=path)
    assert not path.exists()

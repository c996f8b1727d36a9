"""What twl writes of names and labels that somebody else has chosen."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.browser import browse, needs_chromium
from tests.comparison.drawn import comparison_of
from tests.hostile.test_links import twl
from tests.images.encoded import encode, picture
from tests.tagging.models import SPEC, write_model
from tests.tagging.outputs.test_gallery import rows_of, write
from tests.tagging.outputs.written import opened
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.csv_cells import (
    FORMULA_SIGNS,
    cell_of_image,
    cell_of_text,
    image_of_cell,
    text_of_cell,
)
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.table import read_table
from twlcli.annotations.write import write_table
from twlcli.comparison.page import write_page
from twlcli.comparison.report import About
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.runs.run_folder import _read_splits, write_splits
from twlcli.scoring.scores_file import read_scores, write_scores
from twlcli.tagging.outputs.csv import Csv, FailureTable
from twlcli.tagging.outputs.jsonl import Jsonl
from twlcli.tagging.tags import Tags

FORMULAS = (
    '=HYPERLINK("http://x")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\uff1d1+1",
    "=cmd|' /C calc'!A0",
    "'=1+1",
    "./=1",
)
IMAGES = tuple(f"{formula.replace('/', '_')}.jpg" for formula in FORMULAS)
LABELS = tuple(sorted({formula.strip() for formula in FORMULAS}))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text("'./=+@\t\r a;,\"")


def cells_of(path, delimiter=","):
    """Every cell as a spreadsheet sees it."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def assert_no_formula(path, delimiter=","):
    for row in cells_of(path, delimiter):
        for cell in row:
            assert not cell[:1].isspace() and cell[:1] not in FORMULA_SIGNS, cell


def annotated(root):
    return Annotations(
        source=root / "source",
        format="test",
        root=root,
        images=tuple(image.lstrip("./") for image in IMAGES),
        labels=LabelMatrix.from_dense(np.eye(len(IMAGES), len(LABELS), dtype=np.int8)),
        vocabulary=Vocabulary(LABELS),
        splits=tuple(f"=part {number % 2}" for number in range(len(IMAGES))),
        groups=tuple(formula.strip() for formula in FORMULAS),
    )


@given(TEXTS)
@example("'=1")
@example("''=1")
@example("./=1")
@example("././ x")
def test_cells_are_no_formulas_and_read_back(text):
    for write_cell, read_cell in ((cell_of_image, image_of_cell), (cell_of_text, text_of_cell)):
        cell = write_cell(text)
        assert read_cell(cell) == text
        assert not cell[:1].isspace() and cell[:1] not in FORMULA_SIGNS


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_tables_of_labels(tmp_path, name):
    written = annotated(tmp_path)
    write_table(written, tmp_path / name)
    assert_no_formula(tmp_path / name, "\t" if name.endswith("tsv") else ",")
    delimiter = "\t" if name.endswith("tsv") else None
    options = ReadOptions(group_column="group")
    read = read_table(tmp_path / name, options, delimiter=delimiter)
    assert (read.images, read.splits, read.groups) == (
        written.images,
        written.splits,
        written.groups,
    )
    assert read.vocabulary == written.vocabulary
    np.testing.assert_array_equal(read.labels.dense(), written.labels.dense())


def test_tables_of_scores(tmp_path):
    vocabulary = Vocabulary(FORMULAS[:3])
    scored = ScoredImages(
        images=IMAGES,
        logits=np.zeros((len(IMAGES), 3), np.float32),
        targets=np.zeros((len(IMAGES), 3), np.int8),
    )
    path = tmp_path / "scores.csv"
    write_scores(scored, replace(SPEC, vocabulary=vocabulary), path)
    assert_no_formula(path)
    read = read_scores(path)
    assert (read.images, read.labels) == (IMAGES, vocabulary.names)


def test_tables_of_tags_and_failures(tmp_path):
    tables = opened(Csv(tmp_path / "tags.csv"), Vocabulary(FORMULAS))
    with tables as tags, opened(FailureTable(tmp_path / "errors.csv")) as errors:
        for image, formula in zip(IMAGES, FORMULAS, strict=True):
            tags(Tags(image, (formula,), (0.5,)))
            errors(Failure(image, formula))
    for path in (tmp_path / "tags.csv", tmp_path / "errors.csv"):
        assert_no_formula(path)
        assert [image_of_cell(row[0]) for row in cells_of(path)[1:]] == list(IMAGES)
    assert [json.loads(row[1]) for row in cells_of(tmp_path / "tags.csv")[1:]] == [
        [formula] for formula in FORMULAS
    ]


def test_splits_of_a_run(tmp_path):
    splits = [f"=part {number % 2}" for number in range(len(IMAGES))]
    write_splits(tmp_path / "split.csv", IMAGES, splits)
    assert_no_formula(tmp_path / "split.csv")
    assert _read_splits(tmp_path / "split.csv") == dict(zip(IMAGES, splits, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=20).map(os.fsdecode), st.text(st.characters(codec="utf-8")))
def test_lines_of_json_are_valid_whatever_the_names_and_labels(tmp_path_factory, name, label):
    path = tmp_path_factory.mktemp("any") / "tags.jsonl"
    label = label.replace("\0", "") or "a"
    with opened(Jsonl(path), Vocabulary((label,))) as write_row:
        write_row(Tags(name, (label,), (0.5,)))
    (line,) = path.read_bytes().decode("utf-8").split("\n")[:-1]
    assert json.loads(line) == {"image": name, "labels": {label: 0.5}}


# --- pages ----------------------------------------------------------------------------------------

# Each adds a paragraph of the class `ran` to the page, if it is run at all.
RUN = "document.body.append(Object.assign(document.createElement(`p`),{className:`ran`}))"
ATTACKS = (
    f"<img src=x onerror={RUN}>",
    f'"><script>{RUN}</script>',
    f"</script><script>{RUN}</script>",
    f"<!-- rows --><script>{RUN}</script>",
    f"<!--<script>{RUN}//",
    f"]]></script><svg onload={RUN}>",
    f"javascript:{RUN}",
    f"</title><script>{RUN}</script>",
    "{{ 1 }}<base href=http://x.invalid/><meta http-equiv=refresh content=0;url=http://x>",
    "\u2028\u2029\u202e\x1b\x07line\nbreak",
    "$policy",
)


@pytest.fixture
def gallery(tmp_path):
    rows = [Tags(f"{attack}/{attack}.jpg", ATTACKS, (0.5,) * len(ATTACKS)) for attack in ATTACKS]
    write(tmp_path / "out.html", rows, title=ATTACKS[7])
    return tmp_path / "out.html", rows


def test_the_gallery_holds_names_and_labels_as_data_alone(gallery):
    path, rows = gallery
    page = path.read_text()
    assert len(re.findall(r"<script", page)) == 3 and page.count("</title>") == 1
    assert not re.search(r"<(base|svg|img)\b", page)
    assert page.count("<meta http-equiv") == 1
    found = rows_of(path)
    assert [set(labels) for _, labels, _ in found] == [set(ATTACKS)] * len(rows)
    for _, _, address in found:
        assert address is not None and not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//", address)


@needs_chromium
def test_nothing_in_the_gallery_runs_in_a_browser(gallery):
    path, rows = gallery
    page = browse(path)
    assert page.texts["count"] == [f"{len(rows)} of {len(rows)} images"]
    assert "ran" not in page.texts


@needs_chromium
def test_the_policy_of_a_page_stops_what_got_into_it(gallery):
    """The second wall: a script that is in the page, but not the page's own."""
    path, _ = gallery
    added = f"<script>{RUN}</script><img src=x onerror='{RUN}'><svg onload='{RUN}'></svg></body>"
    text = path.read_text().replace("</body>", added)
    copy = path.with_name("copy.html")
    copy.write_text(text)
    assert "ran" not in browse(copy).texts
    copy.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text))
    assert "ran" in browse(copy).texts  # so this test can fail


def test_every_page_has_a_strict_policy(gallery, tmp_path):
    write_page(comparison_of(), tmp_path / "c.html", About("title", {}, "twl compare"))
    for path in (gallery[0], tmp_path / "c.html"):
        (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', path.read_text())
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        scripts = rules.get("script-src", "'none'")
        assert scripts == "'none'" or re.fullmatch(r"'sha256-[\w+/=]+'", scripts)
        assert "http" not in policy and "*" not in policy


@pytest.fixture
def comparison_page(tmp_path):
    comparison = comparison_of(ATTACKS[:3], labels=ATTACKS)
    facts = {ATTACKS[0]: ATTACKS[1]}
    write_page(comparison, tmp_path / "c.html", About(ATTACKS[7], facts, ATTACKS[2]))
    return tmp_path / "c.html"


def attributes(page):
    """The names of all attributes."""
    names: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: names.update(name for name, _ in attrs)  # type: ignore[method-assign]
    parser.feed(page)
    assert "style" in names
    return names


def test_the_page_of_a_comparison_holds_text_alone(comparison_page):
    page = comparison_page.read_text()
    assert not re.search(r"<(script|img|base)\b", page) and page.count("<meta http-equiv") == 1
    assert len(re.findall(r"</title>\s*<style>", page)) == 1
    assert not [name for name in attributes(page) if name.startswith("on") or name == "href"]


@needs_chromium
def test_nothing_in_the_page_of_a_comparison_runs(comparison_page):
    assert "ran" not in browse(comparison_page).texts


# --- where outputs go -----------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(encode(picture(), "JPEG"))
    (tmp_path / "list").write_text("photos/a.jpg\n")
    (tmp_path / "rules.toml").write_text("")
    write_model(tmp_path / "model.onnx")
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ("--out", "b.csv", "--errors", "b.csv.partial"),
        ("--out", "c.csv", "--out", "c.csv.partial", "--format", "csv"),
        ("--out", "a.csv", "--journal", "a.csv.partial"),
        ("--out", "a.csv", "--errors", "j-wal", "--journal", "j"),
        ("--out", "a.csv", "--errors", "j-journal", "--journal", "j"),
        ("--out", "a.csv", "--errors", "a.csv.journal"),
        ("--out", "a.csv", "--errors", "a.csv.journal-shm"),
        ("--out", "a.csv", "--errors", "a.csv.shard", "--shard", "1/1"),
        ("--out", "a.csv", "--gallery", "photos/../a.csv"),
        ("--out", "a.csv", "--gallery", "link/a.csv"),
    ],
)
def test_two_outputs_do_not_need_one_file(photos, options):
    (photos / "link").symlink_to(".")
    before = sorted(photos.rglob("*"))
    result = twl("tag", "photos", "--model", "model.onnx", *options, "--force")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "two outputs name the same file" in result.stderr
    assert sorted(photos.rglob("*")) == before


@pytest.mark.parametrize("name", ["model.onnx", "list", "rules.toml", "photos/a.jpg"])
def test_what_is_read_is_no_output(photos, name):
    content = (photos / name).read_bytes()
    inputs = ("photos/a.jpg", "--from", "list", "--rules", "rules.toml", "--model", "model.onnx")
    for option in ("--errors", "--gallery", "--journal"):
        result = twl("tag", *inputs, "--out", "t.csv", option, name, "--force")
        assert result.exit_code == 2
        assert f"{name}: is read by this run, and cannot be an output" in result.stderr
    assert (photos / name).read_bytes() == content


@pytest.mark.parametrize("out", ["photos", "/dev/null", "gone/t.csv", "fifo"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_outputs_that_are_no_files_are_refused(photos, out, force):
    os.mkfifo("fifo")
    for command in (
        ("tag", "photos", "--model", "model.onnx", "--errors", out),
        ("data", "convert", "photos.csv", "--out", out),
    ):
        (photos / "photos.csv").write_text("image,labels\nphotos/a.jpg,x\n")
        result = twl(*command, *force)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert "Traceback" not in result.output


def test_nothing_is_noted_of_the_user_for_others(tmp_path, photos):
    """ONNX Runtime wrote an identifier into the user's folder, and sent what it ran."""
    model, home = write_model(tmp_path / "m.onnx"), tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-m", "twlcli", "tag", tmp_path, "--model", model, "--out", "-"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "image,labels,probabilities" in done.stdout
    assert not list(home.rglob("*"))

import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from tests.checking.drawn import saved
from twlcli.cli import data
from twlcli.cli.app import ErrorBoundary

app = typer.Typer(cls=ErrorBoundary, rich_markup_mode=None)
app.add_typer(data.app, name="data")


def run(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def table(folder, count=24, rows=()):
    """Good labels of so many images, and some rows more."""
    lines = ["image,labels,split"]
    for number in range(count):
        saved(folder / f"{number}.png", number)
        labels = "dog" if number % 4 else "cat|bird[x]"
        labels += "|bird[x]" if number % 4 == 2 else ""
        lines.append(f"{number}.png,{labels},{'val' if number < 12 else 'train'}")
    path = folder / "labels.csv"
    path.write_text("\n".join([*lines, *rows]) + "\n")
    return path


def test_good_data_end_with_0(tmp_path):
    result = run(table(tmp_path, count=40))
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/labels.csv (csv): 40 images, 3 labels; val 12, train 28"
    assert lines[1].startswith("images of a label: 10 (cat) to 30 (dog), median 20; 0.0 % of all")
    assert lines[-1] == "nothing is wrong"


def test_errors_end_with_1_and_the_worst_comes_first(tmp_path):
    path = table(tmp_path, rows=["gone[x].png,Dog,val", "9.jpg,cat,train"])
    shutil.copy(tmp_path / "9.png", tmp_path / "9.jpg")
    result = run(path)
    assert result.exit_code == 1
    firsts = [line.split(" ")[0] for line in result.stdout.splitlines()]
    starts = [first for first in firsts if first in ("error", "warning", "note")]
    assert starts == sorted(starts, key=["error", "warning", "note"].index)
    assert "1 image is missing" in result.stdout
    assert "9.png (val) = 9.jpg (train): cat, dog" in result.stdout
    assert "'Dog', 'dog': upper and lower case" in result.stdout
    assert "  gone[x].png\n" in result.stdout
    assert result.stdout.endswith("4 errors, 2 warnings\n")


def test_warnings_end_with_1_only_where_they_count(tmp_path):
    path = table(tmp_path, rows=["0.jpg,Dog,val"])
    saved(tmp_path / "0.jpg", 99)
    assert run(path).exit_code == 1  # train has no Dog
    path.write_text(path.read_text().replace("0.jpg,Dog,val", "0.jpg,Dog,train"))
    assert run(path).exit_code == 0
    assert run(path, "--strict").exit_code == 1


def test_few_cases_are_shown_and_all_on_request(tmp_path):
    path = table(tmp_path, rows=[f"gone{number}.png,dog,val" for number in range(9)])
    result = run(path)
    assert "gone3.png" in result.stdout and "gone4.png" not in result.stdout
    assert "… and 5 more" in result.stdout
    assert "gone8.png" in run(path, "--all").stdout
    record = json.loads(run(path, "--json").stdout)
    missing = next(each for each in record["findings"] if each["kind"] == "missing-images")
    assert missing["count"] == len(missing["items"]) == 9


def test_labels_alone_need_no_images(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog\nb.jpg,cat\n")
    assert run(path).exit_code == 1
    result = run(path, "--no-images")
    assert result.exit_code == 0
    assert "missing" not in result.stdout


def test_without_the_extra_a_note_says_what_was_left_out(tmp_path, monkeypatch):
    path = table(tmp_path, count=4)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'twlcli[check]'" in run(path).stderr
    result = run(path, "--near", "3")
    assert result.exit_code == 2
    assert result.stderr.endswith("needs the 'check' extra: pip install 'twlcli[check]'\n")


def test_hostile_names_are_printed_on_one_line(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"image": "a\x1b[31m\n.jpg", "labels": ["do\ng"]}) + "\n")
    result = run(path)
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "a\\x1b[31m\\n.jpg" in result.stdout


@pytest.mark.parametrize("arguments", [["--near", "40"], ["--workers", "0"], ["--scores", "x.csv"]])
def test_wrong_use_ends_with_2(tmp_path, arguments):
    result = run(table(tmp_path, count=2), *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_what_was_decided_in_reading_is_said(tmp_path):
    (tmp_path / "labels.csv").write_text("image,a,b\nx.jpg,1,-1\ny.jpg,-1,1\n")
    done = run(tmp_path / "labels.csv", "--no-images")
    assert "note: -1 was read as absent: no cell holds a 0" in done.stdout
    done = run(tmp_path / "labels.csv", "--no-images", "--json")
    assert json.loads(done.stdout)["notes"] == ["-1 was read as absent: no cell holds a 0"]

import csv
import json

from typer.testing import CliRunner

from tests.cli.test_data_check import app, table


def run(*arguments):
    return CliRunner().invoke(app, ["data", "split", *map(str, arguments)])


def test_split_writes_a_table_and_prints_a_summary(tmp_path):
    path, out = table(tmp_path, count=40), tmp_path / "splits.csv"
    result = run(path, "--out", out, "--val", "0.2", "--test", "0.1")
    assert result.exit_code == 0, result.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {f"{number}.png" for number in range(40)}
    splits = [row["split"] for row in rows]
    assert [splits.count(name) for name in ("train", "val", "test")] == [28, 8, 4]
    lines = result.stdout.splitlines()
    assert lines[0] == f"{out}: 40 images; train 28 (70.0 %), val 8 (20.0 %), test 4 (10.0 %)"
    assert any(line.split()[:2] == ["label", "split"] for line in lines)
    assert run(path, "--out", out).exit_code == 2
    assert run(path, "--out", out, "--force").exit_code == 0


def test_copies_are_counted_and_what_cannot_be_read_is_noted(tmp_path):
    path = table(tmp_path, count=20, rows=["copy.png,dog,", "gone.png,cat,"])
    (tmp_path / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    result = run(path, "--out", tmp_path / "splits.csv")
    assert "2 images stay together, in 1 group\n" in result.stdout
    assert "note: 1 image is missing or cannot be read" in result.stderr
    result = run(path, "--out", tmp_path / "other.csv", "--no-images")
    assert "stay together" not in result.stdout and result.stderr == ""


def test_split_json(tmp_path):
    path = table(tmp_path, count=20)
    result = run(path, "--out", tmp_path / "s.csv", "--json", "--no-images", "--test", "0")
    record = json.loads(result.stdout)
    assert record["splits"] == {"train": 18, "val": 2}
    assert {each["label"] for each in record["labels"]} == {"dog", "cat", "bird[x]"}


def test_wrong_use_is_one_line(tmp_path):
    path = table(tmp_path, count=4)
    for arguments in (["--val", "1"], ["--group-by", "label"], ["--group-by", "folder"]):
        result = run(path, "--out", tmp_path / "splits.csv", *arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "splits.csv").exists()

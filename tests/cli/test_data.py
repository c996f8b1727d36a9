import json
import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from twlcli.annotations.table import read_table
from twlcli.cli import data
from twlcli.cli.app import ErrorBoundary

app = typer.Typer(cls=ErrorBoundary, rich_markup_mode=None)
app.add_typer(data.app, name="data")


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def table(tmp_path, text="image,labels,split,unknown\na.jpg,dog|cat,train,\nb.jpg,dog,val,cat\n"):
    path = tmp_path / "photos.csv"
    path.write_text(text)
    (tmp_path / "a.jpg").touch()
    return path


def cells_of(output):
    return [line.split() for line in output.splitlines()]


def test_show_prints_names_that_are_no_text(tmp_path):
    record = {"image": "a\ud83d.jpg", "labels": ["do\ng\x1b[31m"], "split": "x\ud83d"}
    path = tmp_path / "photos.jsonl"
    path.write_text(json.dumps(record))
    command = [sys.executable, "-m", "twlcli", "data", "show", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "a\\ud83d.jpg" in shown and "do\\ng\\x1b[31m" in shown and "\x1b" not in shown
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["missing_images"]["first"] == [str(tmp_path / "a\ud83d.jpg")]
    assert json.loads(told)["splits"] == {"x\ud83d": 1}


def test_show_facts_and_counts(tmp_path):
    path = table(tmp_path)
    result = run("show", path)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith(f"{path} (csv)\n")
    rows = cells_of(result.stdout)
    assert ["images", "2", "train", "1,", "val", "1"] in rows
    assert ["unknown", "entries", "1"] in rows
    assert f"missing files          1\n  {tmp_path}/b.jpg\n" in result.stdout
    counts = rows[rows.index(["label", "images", "%", "unknown", "train", "val"]) + 1 :]
    assert counts == [["dog", "2", "100.0", "0", "1", "1"], ["cat", "1", "50.0", "1", "1", "0"]]


def test_show_many_labels(tmp_path):
    names = [f"label{i:02d}" for i in range(60)]
    path = table(tmp_path, f"image,labels\na.jpg,{'|'.join(names)}\n")
    result = run("show", path)
    assert sum(line.startswith("label") for line in result.stdout.splitlines()) == 1 + 1 + 40
    assert result.stdout.endswith("… and 20 more labels; --all shows them\n")
    everything = run("show", path, "--all").stdout
    assert all(name in everything for name in names)


def test_show_many_missing_files(tmp_path):
    path = table(tmp_path, "image,labels\n" + "".join(f"x{i}.jpg,dog\n" for i in range(1234)))
    output = run("show", path).stdout
    assert f"  {tmp_path}/x4.jpg\n  … and 1,229 more\n" in output


def test_show_names_with_brackets_and_notes(tmp_path):
    result = run("show", table(tmp_path, "image,labels\na.jpg,[bold]x\nb.jpg,Dog\nc.jpg,dog\n"))
    assert cells_of(result.stdout).count(["[bold]x", "1", "33.3"]) == 1
    assert "note: these labels differ only in upper and lower case: Dog, dog\n" in result.stdout


def test_show_json(tmp_path):
    result = run("show", table(tmp_path), "--json")
    record = json.loads(result.stdout)
    assert record["images"] == 2
    assert record["splits"] == {"train": 1, "val": 1}
    assert record["labels"]["cat"]["unknown"] == 1
    assert record["missing_images"] == {"count": 1, "first": [str(tmp_path / "b.jpg")]}


def test_show_joins_rows(tmp_path):
    path = table(tmp_path, "image,label\na.jpg,dog\na.jpg,cat\n")
    result = run("show", path)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "each image may have only one row; --join-rows joins the rows of an image\n"
    )
    result = run("show", path, "--join-rows")
    assert result.exit_code == 0
    assert "2.000 per image on average" in result.stdout


def test_show_error_is_one_line(tmp_path):
    path = table(tmp_path, "image,dog,cat\na.jpg,1,maybe\n")
    result = run("show", path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"twl: error: {path}:2: column 'cat' holds 'maybe'")
    assert result.stderr.count("\n") == 1


def test_convert_writes_a_table_that_reads_back(tmp_path):
    for name in ("cat/a.jpg", "dog/b.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).touch()
    out = tmp_path / "labels.csv"
    result = run("convert", tmp_path / "in", "--out", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == f"{out}: 2 images, 2 labels, read as folders\n"
    assert out.read_text() == "image,labels\nin/cat/a.jpg,cat\nin/dog/b.jpg,dog\n"


def test_convert_refuses_to_replace(tmp_path):
    path, out = table(tmp_path), tmp_path / "out.csv"
    out.write_text("before")
    result = run("convert", path, "--out", out)
    assert result.exit_code == 2
    assert result.stderr == f"twl: error: {out}: exists already; use --force to replace it\n"
    assert out.read_text() == "before"
    assert run("convert", path, "--out", out, "--force").exit_code == 0
    assert read_table(out).images == ("a.jpg", "b.jpg")


def test_convert_options_reach_the_reader(tmp_path):
    path = table(tmp_path, 'image,labels\na.jpg,"x|y, z"\n')
    (tmp_path / "photos").mkdir()
    out = tmp_path / "out.csv"
    options = ["--separator", ",", "--images", tmp_path / "photos", "--format", "csv"]
    assert run("convert", path, "--out", out, *options).exit_code == 0
    annotations = read_table(out)
    assert annotations.vocabulary.names == ("x|y", "z")
    assert annotations.images == ("photos/a.jpg",)


SCANS = "Scan,Patient,Seen,View\na,p1,0|1,x\nb,p1,1,x\nc,p2,2,x\n"


def test_columns_are_guessed_and_the_guess_works(tmp_path):
    path = table(tmp_path, SCANS.replace("a,", "a.png,").replace("b,", "b.png,"))
    result = run("show", path)
    assert result.exit_code == 2
    assert result.stderr.endswith("; --image-column Scan --labels-column Seen\n")
    path = table(tmp_path, "Image No,Who\na.png,dog\nb.png,dog\nc.png,cat\n")
    result = run("show", path)
    assert result.stderr.endswith("; --image-column 'Image No' --labels-column Who\n")
    options = shlex.split(result.stderr.rstrip("\n").rpartition("; ")[2])
    assert run("show", path, *options).exit_code == 0


def test_every_option_of_tables(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\nnothing\n")
    options = [
        *("--image-column", "Scan", "--labels-column", "Seen", "--group-column", "Patient"),
        *("--extension", ".png", "--names", tmp_path / "names.txt", "--ignore-label", "nothing"),
        *("--ignore-columns", "View"),
    ]
    record = json.loads(run("show", table(tmp_path, SCANS), *options, "--json").stdout)
    assert {name: each["present"] for name, each in record["labels"].items()} == {
        "cat": 1,
        "dog": 2,
    }
    assert record["missing_images"]["first"][0].endswith("a.png")
    assert record["notes"] == []
    out = tmp_path / "out.csv"
    assert run("convert", tmp_path / "photos.csv", "--out", out, *options).exit_code == 0
    assert read_table(out).images == ("a.png", "b.png", "c.png")


def test_options_of_columns(tmp_path):
    path = table(tmp_path, "image,x,is_cat,is_dog,part\na.jpg,5,1,-1,one\nb.jpg,6,0,,two\n")
    options = ["--label-columns", "is_*", "--split-column", "part"]
    record = json.loads(run("show", path, *options, "--json").stdout)
    assert (record["unknown_entries"], record["splits"]) == (1, {"one": 1, "two": 1})
    meant = ["--blank", "unknown", "--minus-one", "absent", "--ignore-label", "is_cat"]
    record = json.loads(run("show", path, *options, *meant, "--json").stdout)
    assert record["labels"] == {
        "is_dog": {"present": 0, "unknown": 1, "splits": {"one": 0, "two": 0}}
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-column", "imag"], "no column is called 'imag'; the columns are: image, labels"),
        (["--blank", "none"], "invalid value for '--blank': 'none' is not one of"),
        (["--blank", "absent"], "so the meaning of empty cells does not apply; leave out --blank"),
        (["--ignore-label", "do"], "no label 'do' to ignore; did you mean 'dog'?"),
        (["--format", "jsonl", "--label-columns", "a"], "'jsonl'; leave out --label-columns"),
        (["--format", "jsonl", "--ignore-label", "a"], "column 1 is not JSON"),
        (["--names", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)
def test_options_that_do_not_fit_are_one_line(tmp_path, options, message):
    result = run("show", table(tmp_path), *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_sample_draws_a_set_that_shows(tmp_path):
    folder = tmp_path / "shapes"
    result = run("sample", folder, "--images", 12, "--seed", 3)
    assert result.exit_code == 0
    assert result.stderr == f"{folder}/labels.csv: 12 images drawn\n"
    record = json.loads(run("show", folder, "--json").stdout)
    assert record["images"] == 12
    assert set(record["splits"]) == {"train", "val"}
    assert record["missing_images"]["count"] == 0
    assert run("sample", folder).exit_code == 2


@pytest.mark.parametrize("command", ["show", "check", "convert", "split", "sample"])
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: twl data {command} " in result.stdout


def test_help_loads_no_heavy_module():
    code = (
        "import sys, twlcli.cli.data\n"
        "print([name for name in ('numpy', 'PIL', 'torch', 'onnxruntime') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"

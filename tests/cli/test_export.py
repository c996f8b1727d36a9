import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.exporting.drawn import small_run
from twlcli.cli.app import app
from twlcli.exporting.onnx import Exported
from twlcli.exporting.smaller import Measured, Smaller, Wishes
from twlcli.images.image_file import Failure
from twlcli.model.checkpoint import read_spec


def invoke(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def refusal(*arguments: object) -> str:
    result = invoke("export", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("twl: error: ")
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory, photographs) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "run", photographs).folder


@pytest.fixture
def asked(run, monkeypatch):
    """What `shrink` was called with, instead of quantising."""
    calls = []

    def shrink(kind, source, out, labelled, wishes, *, progress):
        calls.append((source, out, labelled.annotations, wishes))
        before, after = Measured(9_000_000, 7.26, 0.8, 0.9), Measured(2_600_000, 5.0, 0.795, 0.89)
        unreadable = (Failure("a.png", "is empty"),)
        return Smaller(
            kind, out, read_spec(run), True, before, after, 9, 8, unreadable, "a.csv", "val"
        )

    monkeypatch.setattr("twlcli.exporting.smaller.shrink", shrink)
    return calls


def test_int8_model_is_read_by_eval_and_tag(run, photographs, tmp_path):
    made = invoke("export", run, "--int8", "--accept-drop")
    assert made.exit_code == 0, made.stderr
    model = run / "model.int8.onnx"
    heading, _, int8 = (line.split() for line in made.stdout.splitlines())
    assert heading == ["size", "images/s", "mAP@class", "mAP@sample"]
    assert int8[:3] == ["int8", f"{model.stat().st_size / 1e6:.1f}", "MB"]
    assert f"{model}: measured on {photographs}, split val: 10 images" in made.stderr
    scores = json.loads(invoke("eval", model, photographs, "--json").stdout)
    assert int8[4:] == [f"{100 * scores[key]['value']:.2f}" for key in ("map_class", "map_sample")]
    tags = tmp_path / "tags.csv"
    tagged = invoke("tag", photographs.parent, "--model", model, "--out", tags)
    assert tagged.exit_code == 0, tagged.stderr
    assert len(tags.read_text().splitlines()) == 31
    assert "exists already; use --force" in refusal(run, "--int8")
    model.unlink()


def test_table_has_both_models_and_says_what_was_lost(run, asked):
    result = invoke("export", run, "--int8", "--out", run / "a.onnx")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "           size  images/s  mAP@class  mAP@sample",
        "float32  9.0 MB       7.3      80.00       90.00",
        "int8     2.6 MB       5.0      79.50       89.00",
    ]
    assert "9 images, ranges from 8 of them" in result.stderr
    assert "twl: int8 is not faster here: 0.69 times float32\n" in result.stderr
    assert "twl: 1 image cannot be read and is not scored:\ntwl:   a.png: is empty" in result.stderr


def test_images_are_those_that_were_asked_for(run, photographs, asked, tmp_path):
    def images(*arguments: object) -> int:
        result = invoke("export", *arguments, "--int8", "--out", tmp_path / "a.onnx")
        assert result.exit_code == 0, result.stderr
        return len(asked[-1][2])

    assert images(run) == 10
    assert images(run, "--split", "train") == 20
    assert images(run / "model.safetensors", "--calibrate", photographs) == 10
    plain = tmp_path / "plain.csv"
    plain.write_text("image,labels\n0.png,red\n")
    assert images(run, "--calibrate", plain, "--images", photographs.parent) == 1
    assert asked[-1][2].path(0) == photographs.parent / "0.png"


def test_wishes_are_passed_on(run, asked, tmp_path):
    out = tmp_path / "a.onnx"
    out.write_text("old")
    options = ("--max-drop", "2.5", "--accept-drop", "--force", "--workers", "3")
    assert invoke("export", run, "--int8", "--out", out, *options).exit_code == 0
    assert asked[0][:2] == (run, out)
    assert asked[0][3] == Wishes(max_drop=2.5, accept_drop=True, force=True, workers=3)
    more = ("--fp16", "--tags", "--threshold", "f2", "--opset", "20")
    assert invoke("export", run, "--out", tmp_path / "b.onnx", *more).exit_code == 0
    assert asked[1][3] == Wishes(tags=True, threshold="f2", opset=20)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{run}", "--calibrate", "{table}"], "--calibrate requires --int8 or --fp16"),
        (["{run}", "--max-drop", "2"], "--max-drop requires --int8 or --fp16"),
        (["{run}", "--accept-drop"], "--accept-drop requires --int8 or --fp16"),
        (["{run}", "--coco-images", "."], "--coco-images requires --int8 or --fp16"),
        (["{run}", "--int8", "--format", "csv"], "no labels are named; name them with --calibrate"),
        (
            ["{run}/model.safetensors", "--int8"],
            "{run}/model.safetensors: does not say what it was trained on; "
            "name the labels with --calibrate",
        ),
        (["{run}", "--int8", "--split", "tset"], "no image is in split 'tset' (splits: val, train"),
        (["{run}", "--int8", "--calibrate", "none.csv"], "none.csv: "),
        (["{run}", "--int8", "--fp16"], "--int8 and --fp16 cannot be combined"),
        (["{run}", "--threshold", "f2"], "--threshold requires --tags"),
        (["{run}", "--tags", "--threshold", "f3"], "no thresholds for f3 (it has: "),
        (["{run}", "--tags", "--threshold", "x"], "threshold 'x': expected a number in 0..1"),
        (["{run}", "--opset", "17"], "opset is 17; expected 18 to 25"),
        (["{run}", "--opset", "17", "--fp16"], "opset is 17; expected 18 to 25"),
        (["{run}", "--bundle", "wd", "a", "--tags"], "--bundle and --tags cannot be combined"),
        (["{run}", "--bundle", "wd", "a", "--int8"], "--bundle and --int8 cannot be combined"),
        (["{run}", "--bundle", "wd", "a", "--out", "b.onnx"], "--bundle and --out cannot be comb"),
        (["{run}", "--bundle", "wd", "a", "--workers", "2"], "--workers requires --int8 or --fp16"),
        (["{run}", "--bundle", "wd", "{run}"], "is not empty; --force replaces the files of a bun"),
        (["{run}", "--bundle", "w", "a"], "there is no bundle 'w'; expected hf, wd, triton or web"),
        (["{run}", "--bundle", "wd"], "option '--bundle' requires 2 arguments"),
        (["{run}", "--bundle", "hf", "{run}/hf"], "timm has no network 'squeezenet1_1'"),
        (["none", "--bundle", "wd", "a"], "none: no such model"),
        (["{run}", "--int8", "--calibrate", "{other}"], "other.csv:2: label 'rde' is not in"),
        (
            ["{run}", "--int8", "--calibrate", "{folds}"],
            "no split 'val'; --split can be fold 1",
        ),
        (["{run}", "--int8", "--out", "a.pt"], "a.pt: expected a name that ends in .onnx"),
        (["{run}", "--int8", "--out", "none/a.onnx"], "there is no folder none"),
        (["none", "--int8"], "none: no such model"),
        (["{table}", "--int8"], "not a safetensors checkpoint"),
    ],
)
def test_export_refuses_in_one_line(run, photographs, tmp_path, arguments, expected):
    names = {"run": run, "table": photographs}
    for name, row in (("other", "0.png,rde,val"), ("folds", "0.png,red,fold 1")):
        names[name] = tmp_path / f"{name}.csv"
        names[name].write_text(f"image,labels,split\n{row}\n")
    filled = [argument.format(**names) for argument in arguments]
    assert expected.format(**names) in refusal(*filled)


def test_float_export_says_how_near_it_is_to_torch(run, monkeypatch):
    def export(source, out, **wishes):
        assert (source, out) == (run, None)
        assert not any(wishes[name] for name in ("tags", "threshold", "force", "allow_code"))
        return Exported(run / "model.onnx", 9_000_000, read_spec(run), 1e-6, 3.25)

    monkeypatch.setattr("twlcli.exporting.onnx.export", export)
    result = invoke("export", run)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == (
        f"{run / 'model.onnx'}: 9.0 MB, 3 labels; torch and ONNX Runtime differ by at most 1.0e-06 "
        "in logits of up to 3.2 (batches 1, 2, 5)\n"
        "of 3 labels some are never given: 1 at precision=0.9\n"
    )


def test_bundle_says_what_it_wrote_and_what_is_not_as_in_twl(run, tmp_path):
    result = invoke("export", run, "--bundle", "wd", tmp_path / "wd")
    assert (result.exit_code, result.stdout) == (0, "")
    written = sorted((tmp_path / "wd").iterdir())
    assert [path.name for path in written] == ["model.onnx", "selected_tags.csv"]
    size = sum(path.stat().st_size for path in written)
    first, second = result.stderr.splitlines()
    assert first == f"{tmp_path / 'wd'}: 2 files, {size / 1e6:.1f} MB, 3 labels"
    assert second.startswith("wd: WD programs pad an image to a white square")
    again = invoke("export", run, "--bundle", "wd", tmp_path / "wd", "--force")
    assert again.exit_code == 0


@pytest.mark.parametrize("option", [(), ("--int8",), ("--bundle", "wd", "a")])
def test_export_says_that_torch_is_missing(run, without_torch, option):
    message = refusal(run, *option)
    assert message == (
        "twl: error: exporting needs the 'train' extra: pip install 'twlcli[train]'\n"
    )

"""Every reader takes damaged files for what they are: read, or refused in words of twl's."""

import json
import random
import signal
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.annotations.test_detect import LAYOUTS, make
from tests.damage import damaged
from tests.images.arrays import preprocess
from tests.tagging.models import SPEC
from tests.tagging.outputs.foreign_xmp import SIDECARS
from tests.tagging.test_merge import NAMES, shards
from twlcli.annotations.detect import read_labels
from twlcli.annotations.summary import summarize
from twlcli.annotations.write import write_table
from twlcli.errors import TwlError
from twlcli.images.discover.scan import scan
from twlcli.images.identity import Identity
from twlcli.images.image_file import ImageFile, read_range
from twlcli.model.decisions import calibration_of, probabilities, thresholds_of
from twlcli.model.spec import ModelSpec
from twlcli.recipe import Recipe, read_recipe
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.journal import open_journal
from twlcli.tagging.merge import merge
from twlcli.tagging.outputs.xmp.writer import XmpWriter
from twlcli.tagging.tag_rules import TagRules
from twlcli.tagging.tags import Scores, Tags

Step = Callable[[Path], object]  # makes or reads files in a folder

POLICY = """
prefix = "auto:"
never = ["blue", "*gr*"]
only = ["red", "animal"]
aliases.red = ["rot", "rouge"]
[implications]
red = "animal"
animal = ["living thing"]
[[groups]]
labels = ["red", "green"]
most = 1
"""
LABELS = (("red", "blue"), (0.5, 0.25))
NOW = Identity(1, 2)
KEY = b"k" * 32


def labels_of(name: str) -> tuple[Step, Step]:
    def read(folder: Path) -> None:
        (first, *others) = LAYOUTS[name]
        path = folder if others else folder / first
        with suppress(TwlError):
            read_labels(path)
        annotations = read_labels(path, format=name, min_images=1)
        assert annotations.labels.shape == (len(annotations), len(annotations.vocabulary))
        json.dumps(summarize(annotations).to_dict())
        write_table(annotations, folder.parent / "written.csv")

    return lambda folder: make(folder, LAYOUTS[name]), read


def make_tars(folder: Path) -> None:
    for number in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(folder / f"{number}.tar", "w", format=number) as tar:
            for name in ("a.jpg", "b" * 150 + ".jpg", "sub/ü.jpg"):
                info = tarfile.TarInfo(name)
                info.size = 700
                tar.addfile(info, BytesIO(bytes(700)))


def read_tars(folder: Path) -> None:
    for path in folder.iterdir():
        files = list(scan([path]))
        assert len({file.name for file in files}) == len(files) > 0
        for file in files:
            if file.byte_range is not None and file.failure is None:
                assert len(read_range(file.path, file.byte_range)) == file.byte_range.size


def read_lists(folder: Path) -> None:
    for null in (True, False):
        with suppress(TwlError):
            list(scan([], lists=[folder / "list"], null=null))


def make_xmp(folder: Path) -> None:
    for name, content in SIDECARS.items():
        (folder / f"{name}.xmp").write_bytes(content)


def read_xmp(folder: Path) -> None:
    for path in folder.iterdir():
        before = path.read_bytes()
        for labels in (("dog", "animal|cat"), ()):
            with suppress(TwlError):
                file = ImageFile(path.with_suffix(""), path.stem)
                XmpWriter(model="m").write(file, Tags(path.stem, labels, (0.5, 0.4)[: len(labels)]))
        path.write_bytes(before)


def read_rules(folder: Path) -> None:
    rules = TagRules.read(folder / "policy.toml", SPEC.vocabulary)
    rules(Tags("0.jpg", *LABELS))
    assert rules.digest and len(rules.vocabulary) >= 0


def read_recipes(folder: Path) -> None:
    recipe = read_recipe(folder / "recipe.toml")
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(folder / "recipe.toml") == recipe
    recipe.suited(images=100, labels=3)


def read_spec(folder: Path) -> None:
    text = (folder / "spec.json").read_text(encoding="utf-8", errors="replace")
    spec = ModelSpec.from_json(text, source="model.onnx")
    assert ModelSpec.from_json(spec.to_json(), source="again") == spec
    preprocess(Image.new("RGB", (40, 30)), spec.preprocessing)
    for wish in (None, "precision=0.9"):
        with suppress(TwlError):
            assert thresholds_of(spec, wish).shape == (len(spec.vocabulary),)
    logits = np.zeros((1, len(spec.vocabulary)), np.float32)
    assert np.isfinite(probabilities(logits, calibration_of(spec))).all()


def make_journal(folder: Path) -> None:
    with open_journal(folder / "journal", KEY, SPEC.vocabulary) as journal:
        rows = [(NOW, Scores(f"{index}.jpg", *LABELS, rest=0.1)) for index in range(60)]
        journal.commit(rows, [Written("0.jpg", "txt", KEY, (1, 2))])
        journal.begin([folder / "out"])


def read_journal(folder: Path) -> None:
    with open_journal(folder / "journal", KEY, SPEC.vocabulary) as journal:
        journal.find([(f"{index}.jpg", NOW) for index in range(70)])
        journal.written("0.jpg", "txt")
        journal.made(folder / "journal", folder / "partial")
        journal.commit([(NOW, Scores(f"{index}.png", *LABELS)) for index in range(60)])
        journal.begin([folder / "journal"])
        journal.finish([folder / "journal"])


def parts_of(suffix: str) -> tuple[Step, Step]:
    def read(folder: Path) -> None:
        merge(folder.parent / f"merged.{suffix}", list(folder.glob(f"*.{suffix}")), force=True)

    return lambda folder: shards(folder, NAMES, 3, suffix), read


def write(name: str, content: str) -> Step:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


# How each kind of file is made in an empty folder, and how the folder is read.
READERS: dict[str, tuple[Step, Step]] = {
    **{name: labels_of(name) for name in LAYOUTS if name != "folders"},
    "tar": (make_tars, read_tars),
    "list": (write("list", "a.jpg\nbü.jpg\n\nsub/c.tar\n"), read_lists),
    "xmp": (make_xmp, read_xmp),
    "policy": (write("policy.toml", POLICY), read_rules),
    "recipe": (write("recipe.toml", Recipe().to_toml()), read_recipes),
    "spec": (write("spec.json", SPEC.to_json()), read_spec),
    "journal": (make_journal, read_journal),
    **{f"merge-{suffix}": parts_of(suffix) for suffix in ("csv", "jsonl", "parquet")},
}


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"read for more than {seconds} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("count", [12, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(tmp_path, name, count):
    make_files, read = READERS[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    make_files(folder)
    whole = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    damageable = [path for path, content in whole.items() if content]
    read(folder)  # whole files are read
    refused = 0
    tracemalloc.start()
    for seed in range(count):
        dice = random.Random(seed)
        for path, content in whole.items():
            path.write_bytes(content)
        for path in folder.rglob("*-wal"):
            path.unlink()
        path = dice.choice(damageable)
        path.write_bytes(damaged(whole[path], dice))
        try:
            with ends_within(20):
                read(folder)
        except TwlError as error:
            assert str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, {path.name}: {error!r}") from error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused < count
    assert peak < 50_000_000

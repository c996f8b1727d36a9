import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.labels import Vocabulary
from twlcli.model.threshold_file import read_thresholds

LABELS = Vocabulary(("cat", "red panda", "a.b", 'quo"te', "日本"))


def written(folder, text: str | bytes):
    path = folder / "thresholds.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_each_label_has_its_number(tmp_path):
    text = 'cat = 0.5\n"red panda" = 0.25\n"a.b" = 1\n\'quo"te\' = 0\n"日本" = 0.75\n'
    assert read_thresholds(written(tmp_path, text), LABELS).tolist() == [0.5, 0.25, 1, 0, 0.75]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.none() | st.floats(0, 1, width=32), min_size=5, max_size=5))
def test_the_default_stands_for_the_others(tmp_path_factory, values):
    names = ["cat", '"red panda"', '"a.b"', "'quo\"te'", '"日本"']
    lines = [f"{n} = {v!r}" for n, v in zip(names, values, strict=True) if v is not None]
    path = written(tmp_path_factory.mktemp("file"), "\n".join(["default = 0.5", *lines]))
    assert read_thresholds(path, LABELS).tolist() == [0.5 if v is None else v for v in values]


def test_a_label_that_is_called_default_is_meant_by_it(tmp_path):
    path = written(tmp_path, "default = 0.5\n")
    assert read_thresholds(path, Vocabulary(("default",))).tolist() == [0.5]
    with pytest.raises(TwlError, match=r"1 of 2 labels have no threshold: cat$"):
        read_thresholds(path, Vocabulary(("default", "cat")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat = 0.5\n", "4 of 5 labels have no threshold: red panda, a.b"),
        ("", "'default = 0.5' would stand for them"),
        ("default = 0.5\ncatt = 0.5\n", "'catt' is not one of the model's; did you mean 'cat'?"),
        ("default = 0.5\na.b = 0.5\n", "'a' is not one of the model's"),
        (
            "default = 0.5\ncat.b = 0.5\n",
            "'cat' is {\"b\": 0.5}, expected a number in 0..1; a name",
        ),
        ("default = 1.5\n", "'default' is 1.5, expected a number in 0..1"),
        ("default = 0.5\ncat = nan\n", "'cat' is NaN, expected"),
        ("default = 0.5\ncat = -0.1\n", "'cat' is -0.1, expected"),
        ("default = 0.5\ncat = true\n", "'cat' is true, expected"),
        ('default = "0.5"\n', "'default' is \"0.5\", expected"),
        ("default = 2026-01-01\n", "'default' is \"2026-01-01\", expected"),
        ("cat 0.5\n", "not a TOML file of thresholds"),
        ("cat = 0.5\ncat = 0.5\n", "not a TOML file of thresholds"),
        (b"cat = \xff\n", "not a TOML file of thresholds"),
        ("a = " + "[" * 100_000, "not a TOML file of thresholds"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(TwlError) as caught:
        read_thresholds(path, LABELS)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TwlError, match="cannot read the thresholds"):
        read_thresholds(tmp_path / "gone.toml", LABELS)

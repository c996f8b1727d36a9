import pytest

from twlcli.versions import FileFormat, Rename, unknown_keys

FORMAT = FileFormat(
    "recipe",
    3,
    (
        Rename(2, "train.rate", "optimizer.rate"),
        Rename(3, "optimizer.rate", "optimizer.learning_rate"),
        Rename(3, "backbone", "network"),
    ),
)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (
            {"train": {"rate": 1, "seed": 2}, "backbone": "a"},
            {"train": {"seed": 2}, "optimizer": {"learning_rate": 1}, "network": "a"},
        ),
        (
            {"version": 1, "train": {"rate": 1}, "optimizer": {"clip": 2}},
            {"optimizer": {"clip": 2, "learning_rate": 1}},
        ),
        ({"version": 2, "optimizer": {"rate": 1}}, {"optimizer": {"learning_rate": 1}}),
        ({"version": 2, "train": {"rate": 1}}, {"train": {"rate": 1}}),  # not its name in 2
        ({"version": 3, "optimizer": {"rate": 1}}, {"optimizer": {"rate": 1}}),
        ({"version": 9, "backbone": 1}, {"backbone": 1}),
        ({"train": 3, "optimizer": []}, {"train": 3, "optimizer": []}),
        ({"train": {"rate": 1}, "optimizer": 3}, {"train": {"rate": 1}, "optimizer": 3}),
        ({}, {}),
    ],
)
def test_keys_of_older_versions_get_their_present_names(tables, expected):
    before = repr(tables)
    version, opened = FORMAT.opened(tables)
    assert opened == expected
    assert version == tables.get("version", 0)
    assert repr(tables) == before


def test_a_key_under_both_names_is_refused():
    with pytest.raises(ValueError, match=r"has 'network' and also 'backbone', its name in older"):
        FORMAT.opened({"network": 1, "backbone": 2})


@pytest.mark.parametrize("version", [-1, 1.0, "1", True, None, []])
def test_version_is_a_whole_number(version):
    with pytest.raises(ValueError, match=r"^version is .*, expected a whole number$"):
        FORMAT.opened({"version": version})


def test_newer_files_are_told_from_mistakes():
    assert FORMAT.newer(3, ["a"]) == FORMAT.newer(0, ["a"]) == ""
    start = "written by a newer twl (recipe version 4; this one reads 3); "
    assert FORMAT.newer(4) == start + "upgrade twlcli"
    assert FORMAT.newer(4, ["a", "b.c"]) == start + "unknown keys: a, b.c; upgrade twlcli"


def test_unknown_keys_are_named_with_their_table():
    known = {"a": ["b"], "any": None, "c": []}
    tables = {"a": {"b": 1, "x": 2}, "any": {"y": 1}, "z": {}, "c": 3}
    assert unknown_keys(tables, known) == ["a.x", "z"]

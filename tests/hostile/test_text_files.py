"""Recipes and tag rules that strangers made."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from twlcli.errors import TwlError
from twlcli.io import MAX_TEXT
from twlcli.labels import Vocabulary
from twlcli.recipe import read_recipe
from twlcli.tagging.tag_rules import TagRules

READERS: list[Callable[[Path], object]] = [
    read_recipe,
    lambda path: TagRules.read(path, Vocabulary(("dog",))),
]


@pytest.mark.parametrize("read", READERS)
def test_only_regular_files_of_a_usual_size_are_read(tmp_path, read):
    path = tmp_path / "a.toml"
    path.symlink_to("/dev/zero")
    with pytest.raises(TwlError, match=r"a\.toml: cannot read .* \(not a regular file: c"):
        read(path)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(TwlError, match=r"a\.toml: cannot read .* \(not a regular file: p"):
            read(path)
        path.unlink()
    with path.open("wb") as file:
        file.truncate(MAX_TEXT + 1)
    with pytest.raises(TwlError, match=r"a\.toml: cannot read .* the limit is 16,777,216"):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a" * 100_000, "[a]\n" * 1000, "a = 1" + "0" * 10_000, "\0"]
)
def test_text_that_is_no_toml_of_its_kind_is_refused_in_one_line(tmp_path, read, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(TwlError) as error:
        read(tmp_path / "a.toml")
    assert str(error.value).startswith(str(tmp_path))
    assert len(str(error.value).splitlines()) == 1

"""What a cache holds, as it is shown and removed."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.features.test_cache import ABOUT, keys, rows
from twlcli.features.cache import FeatureCache
from twlcli.features.kept import prune, summaries
from twlcli.images.identity import Identity


def test_summaries_say_what_is_there_and_skip_what_is_not_twls(tmp_path):
    assert summaries(tmp_path / "nothing") == []
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/a", "/b"), [Identity(1, 1)] * 2, rows(1, 2))
        cache.add(keys("/a", view=1), [Identity(1, 1)], rows(3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "about.json").write_text(ABOUT.to_json())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "about.json").write_text("{")
    (found,) = summaries(tmp_path)
    assert (found.about, found.images, found.rows) == (ABOUT, 2, 3)
    assert found.size >= 3 * 16
    assert found.used == pytest.approx(time.time(), abs=60)


def test_prune_removes_what_was_not_used_for_long_and_nothing_that_is_in_use(tmp_path):
    others = [replace(ABOUT, weights=str(number) * 64) for number in (1, 2)]
    for each in (ABOUT, *others):
        FeatureCache(tmp_path, each).close()
    now = time.time()
    for each in (ABOUT, others[0]):
        os.utime(tmp_path / each.key / "about.json", (now - 1000, now - 1000))
    (tmp_path / "mine").mkdir()
    held = os.open(tmp_path / others[0].key, os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_SH)
        removed, in_use = prune(tmp_path, unused_since=now - 500)
    finally:
        os.close(held)
    assert [each.about for each in removed] == [ABOUT]
    assert [each.about for each in in_use] == [others[0]]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"mine", *(each.key for each in others)}


def damaged(folder: Path, *, text: str | None = "{") -> Path:
    """The features of a network whose about.json is damaged, or gone."""
    with FeatureCache(folder, ABOUT) as cache:
        cache.add(keys("/a", "/b"), [Identity(1, 1)] * 2, rows(1, 2))
    about = folder / ABOUT.key / "about.json"
    about.unlink() if text is None else about.write_text(text)
    return folder / ABOUT.key


@pytest.mark.parametrize("text", ["{", None, ABOUT.to_json().replace('"format": 1', '"format": 2')])
def test_features_of_a_network_that_cannot_be_told_are_shown_and_pruned(tmp_path, text):
    folder = damaged(tmp_path, text=text)
    (found,) = summaries(tmp_path)
    assert (found.folder, found.about, found.images, found.rows) == (folder, None, 0, 0)
    assert found.size >= 2 * 16
    assert prune(tmp_path, unused_since=time.time() - 500) == ([], [])
    os.utime(folder / ("index.sqlite" if text is None else "about.json"), (1, 1))
    assert prune(tmp_path, unused_since=time.time() - 500)[0] == [replace(found, used=1)]
    assert not folder.exists()


@pytest.mark.parametrize("change", ["named", "more", "link", "less"])
def test_what_only_looks_like_damaged_features_is_left_alone(tmp_path, change):
    folder = damaged(tmp_path)
    if change == "named":
        folder.rename(tmp_path / "mine")
    elif change == "more":
        (folder / "thesis.txt").write_text("all of it")
    elif change == "less":
        (folder / "features.f32").unlink()
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    assert summaries(tmp_path) == []
    assert prune(tmp_path, unused_since=time.time() + 500) == ([], [])
    assert sorted(tmp_path.rglob("*")) == before

"""Features on disk: what is kept, what is not believed, and what a killed process leaves."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.features.about import About
from twlcli.features.cache import FeatureCache, default_folder
from twlcli.features.kept import summaries
from twlcli.images.identity import Identity
from twlcli.model.preprocessing import Preprocessing

ABOUT = About("resnet18", "0" * 64, Preprocessing(36, 32), "float32", 4)


def rows(*numbers):
    return np.array([[number + part / 10 for part in range(4)] for number in numbers], np.float32)


def keys(*names, view=0):
    return [(name.encode(), view) for name in names]


def read(cache, *places):
    out = np.full((len(places), 4), np.nan, np.float32)
    cache.read(np.array(places, np.int64), out)
    return out


def test_what_was_added_is_there_in_another_process(tmp_path):
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/a", "/b"), [Identity(10, 1), Identity(20, 2)], rows(1, 2))
        cache.add(keys("/a", view=1), [Identity(10, 1)], rows(3))
        assert cache.place((b"/b", 0), Identity(20, 2)) == 1
    with FeatureCache(tmp_path, ABOUT) as cache:
        places = [cache.place(key, Identity(10, 1)) for key in ((b"/a", 0), (b"/a", 1))]
        np.testing.assert_array_equal(read(cache, *places), rows(1, 3))
        assert cache.place((b"/c", 0), Identity(1, 1)) is None
        assert read(cache).shape == (0, 4)


@pytest.mark.parametrize("changed", [Identity(11, 1), Identity(10, 2), None])
def test_features_of_a_file_that_has_changed_are_not_its_own(tmp_path, changed):
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/a"), [Identity(10, 1)], rows(1))
        assert cache.place((b"/a", 0), changed) is None


def test_changed_features_replace_the_old_without_touching_their_row(tmp_path):
    with FeatureCache(tmp_path, ABOUT) as cache, FeatureCache(tmp_path, ABOUT) as other:
        cache.add(keys("/a", "/b"), [Identity(10, 1), Identity(20, 2)], rows(1, 2))
        cache.add(keys("/a"), [Identity(10, 5)], rows(7))
        assert cache.place((b"/a", 0), Identity(10, 1)) is None
        place = cache.place((b"/a", 0), Identity(10, 5))
        np.testing.assert_array_equal(read(other, 0, 1, place), rows(1, 2, 7))


@pytest.mark.parametrize(
    "other",
    [
        replace(ABOUT, weights="1" * 64),
        replace(ABOUT, preprocessing=Preprocessing(40, 32)),
        replace(ABOUT, precision="bfloat16"),
        replace(ABOUT, backbone="timm:resnet18/x"),
    ],
)
def test_another_network_has_features_of_its_own(tmp_path, other):
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/a"), [Identity(10, 1)], rows(1))
    with FeatureCache(tmp_path, other) as cache:
        assert cache.place((b"/a", 0), Identity(10, 1)) is None
    assert len(summaries(tmp_path)) == 2


@settings(max_examples=20, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=6),
        max_size=8,
    )
)
def test_the_last_features_of_each_file_are_found(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("cache")
    expected: dict[int, tuple[int, int]] = {}
    count = 0
    for batch in batches:
        newest = dict(batch)  # of one key the last counts
        with FeatureCache(folder, ABOUT) as cache:
            numbers = list(range(count, count + len(newest)))
            count += len(newest)
            identities = [Identity(1, time) for time in newest.values()]
            cache.add(keys(*(f"/{name}" for name in newest)), identities, rows(*numbers))
        for number, (name, mtime) in zip(numbers, newest.items(), strict=True):
            expected[name] = (mtime, number)
    with FeatureCache(folder, ABOUT) as cache:
        for name, (mtime, number) in expected.items():
            place = cache.place((f"/{name}".encode(), 0), Identity(1, mtime))
            assert place is not None
            np.testing.assert_array_equal(read(cache, place), rows(number))


def test_two_processes_add_at_once(tmp_path):
    code = (
        "import sys; from tests.features.test_cache import *\n"
        "who = int(sys.argv[2])\n"
        "with FeatureCache(Path(sys.argv[1]), ABOUT) as cache:\n"
        "    for number in range(50):\n"
        "        name = f'/{who}/{number}'\n"
        "        cache.add(keys(name), [Identity(1, 1)], rows(1000 * who + number))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(who)]) for who in (1, 2)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    with FeatureCache(tmp_path, ABOUT) as cache:
        for who in (1, 2):
            for number in range(50):
                place = cache.place((f"/{who}/{number}".encode(), 0), Identity(1, 1))
                np.testing.assert_array_equal(read(cache, place), rows(1000 * who + number))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_leaves_whole_features(tmp_path):
    code = (
        "import sys; from tests.features.test_cache import *\n"
        "with FeatureCache(Path(sys.argv[1]), ABOUT) as cache:\n"
        "    number = len(cache._known)\n"
        "    while True:\n"
        "        cache.add(keys(f'/{number}'), [Identity(1, 1)], rows(number))\n"
        "        number += 1\n"
    )
    most = 0
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
            found = summaries(tmp_path)
            if found and found[0].images > most + 5:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        with FeatureCache(tmp_path, ABOUT) as cache:
            known = [
                number for number in range(10_000) if (f"/{number}".encode(), 0) in cache._known
            ]
            assert known == list(range(len(known)))
            assert len(known) > most
            most = len(known)
            places = [cache.place((f"/{each}".encode(), 0), Identity(1, 1)) for each in known]
            np.testing.assert_array_equal(read(cache, *places), rows(*known))


def test_rows_that_are_not_there_are_computed_again(tmp_path):
    """As where a file was cut short, by a disk that was full or a copy that was not finished."""
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/a", "/b"), [Identity(1, 1)] * 2, rows(1, 2))
        file = cache.folder / "features.f32"
    os.truncate(file, 20)
    with FeatureCache(tmp_path, ABOUT) as cache:
        assert cache.place((b"/a", 0), Identity(1, 1)) == 0
        assert cache.place((b"/b", 0), Identity(1, 1)) is None
        cache.add(keys("/b"), [Identity(1, 1)], rows(2))
        place = cache.place((b"/b", 0), Identity(1, 1))
        np.testing.assert_array_equal(read(cache, 0, place), rows(1, 2))


def test_rows_that_were_lost_do_not_come_back_as_zeros(tmp_path):
    """What is added after a file was cut short makes it as long as it was."""
    with FeatureCache(tmp_path, ABOUT) as cache:
        names = [f"/{number}" for number in range(10)]
        cache.add(keys(*names), [Identity(1, 1)] * 10, rows(*range(10)))
        file = cache.folder / "features.f32"
        os.truncate(file, 3 * 16)  # also while it is open
        cache.add(keys("/new"), [Identity(1, 1)], rows(77))
    with FeatureCache(tmp_path, ABOUT) as cache:
        found = [cache.place((name.encode(), 0), Identity(1, 1)) for name in names]
        assert found == [0, 1, 2, *[None] * 7]
        place = cache.place((b"/new", 0), Identity(1, 1))
        np.testing.assert_array_equal(read(cache, 0, 2, place), rows(0, 2, 77))
    file.unlink()
    with FeatureCache(tmp_path, ABOUT) as cache:
        cache.add(keys("/late"), [Identity(1, 1)], rows(5))
    with FeatureCache(tmp_path, ABOUT) as cache:
        assert list(cache._known) == [(b"/late", 0)]


def test_what_killed_processes_left_is_removed_when_it_is_old(tmp_path):
    with FeatureCache(tmp_path, ABOUT) as cache:
        old, new = (cache.folder / f".twl-{number}.tmp" for number in (1, 2))
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    FeatureCache(tmp_path, ABOUT).close()
    assert new.exists() and not old.exists()


def test_without_a_home_folder_the_user_has_to_name_one(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(TwlError, match="there is none"):
        default_folder()


@pytest.mark.parametrize(
    "content", [b"no database at all, but text", b"", b"SQLite format 3\0" * 9]
)
def test_an_index_that_is_none_is_one_line(tmp_path, content):
    with FeatureCache(tmp_path, ABOUT) as cache:
        index = cache.folder / "index.sqlite"
    for beside in index.parent.glob("index.sqlite*"):
        beside.unlink()
    index.write_bytes(content)
    if not content:  # an empty file is an empty database
        FeatureCache(tmp_path, ABOUT).close()
        return
    with pytest.raises(TwlError, match=r"index\.sqlite: the index of features cannot be used"):
        FeatureCache(tmp_path, ABOUT)


def test_an_index_with_another_table_is_one_line(tmp_path):
    with FeatureCache(tmp_path, ABOUT) as cache:
        index = cache.folder / "index.sqlite"
    index.unlink()
    with sqlite3.connect(index) as other:
        other.execute("CREATE TABLE images (path TEXT)")
    other.close()
    with pytest.raises(TwlError, match="the index of features cannot be used"):
        FeatureCache(tmp_path, ABOUT)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TwlError, match="cannot be written"):
        FeatureCache(tmp_path / "file", ABOUT)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="caches lie elsewhere")
def test_the_users_caches_are_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert default_folder() == tmp_path / "caches" / "twl" / "features"
    for value in ("", "caches"):  # a relative path is to be ignored
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_folder() == tmp_path / ".cache" / "twl" / "features"

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.images.identity import Identity
from twlcli.images.image_file import Failure
from twlcli.labels import Vocabulary
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.journal import open_journal
from twlcli.tagging.tags import Scores

LABELS = Vocabulary(("dog", "person", "été"))
NOW = Identity(100, 1_700_000_000_123_456_789)
DOG = Scores("1.jpg", ("person", "dog"), (0.75, 0.5))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tags.csv.journal"


def opened(path, key=b"run"):
    return open_journal(path, key, LABELS)


def find(journal, name, identity):
    (row,) = journal.find([(name, identity)])
    return row


def rows():
    chosen = st.lists(
        st.tuples(st.sampled_from(LABELS.names), st.floats(0, 1, width=32)),
        unique_by=lambda pair: pair[0],
    )
    tags = chosen.map(lambda pairs: (tuple(n for n, _ in pairs), tuple(p for _, p in pairs)))
    names = st.binary(min_size=1, max_size=20).map(os.fsdecode)
    rest = st.none() | st.floats(0, 1, width=32)
    return st.one_of(
        st.builds(lambda name, pair, rest: Scores(name, pair[0], pair[1], rest), names, tags, rest),
        st.builds(Failure, names, st.text(st.characters(), max_size=20)),
    )


@settings(max_examples=25, deadline=None)
@given(stored=st.lists(rows(), unique_by=lambda row: row.image, max_size=6))
def test_journal_gives_back_exactly_what_it_took(tmp_path_factory, stored):
    path = tmp_path_factory.mktemp("any") / "journal"
    with opened(path) as journal:
        journal.commit([(NOW, row) for row in stored])
    with opened(path) as journal:
        assert journal.find([(row.image, NOW) for row in stored]) == stored


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (NOW, True),
        (Identity(101, NOW.mtime_ns), False),
        (Identity(100, NOW.mtime_ns + 1), False),
        (Identity(100, NOW.mtime_ns, offset=512), False),
        (Identity(100, NOW.mtime_ns, sha256=b"unknown"), False),
    ],
)
def test_journal_does_not_find_a_file_that_has_changed(path, now, same):
    with opened(path) as journal:
        journal.commit([(NOW, DOG)])
        assert find(journal, "1.jpg", now) == (DOG if same else None)
        assert find(journal, "2.jpg", now) is None


def test_journal_with_hashes_goes_by_the_content_alone(path):
    with opened(path) as journal:
        journal.commit([(Identity(100, 1, sha256=b"a"), DOG)])
        assert find(journal, "1.jpg", Identity(100, 2, sha256=b"a")) == DOG
        assert find(journal, "1.jpg", Identity(100, 1, sha256=b"b")) is None
        assert find(journal, "1.jpg", Identity(100, 1)) == DOG  # without --hash again


def test_journal_replaces_the_row_of_a_changed_file(path):
    later = Identity(7, 8)
    with opened(path) as journal:
        journal.commit([(NOW, DOG)])
        journal.commit([(later, Failure("1.jpg", "the file is empty"))])
        assert find(journal, "1.jpg", NOW) is None
        assert find(journal, "1.jpg", later) == Failure("1.jpg", "the file is empty")


def test_journal_in_which_nothing_stands_goes_with_an_error(path):
    for rows, left in (([], []), ([(NOW, DOG)], [path.name])):
        with pytest.raises(TwlError, match="elsewhere"), opened(path) as journal:
            journal.commit(rows)
            raise TwlError("elsewhere")
        assert [each.name for each in path.parent.iterdir()] == left


def test_journal_keeps_runs_apart(path):
    other = Scores("1.jpg", (), ())
    for key, row in [(b"run", DOG), (b"other threshold", other)]:
        with opened(path, key) as journal:
            assert find(journal, "1.jpg", NOW) is None
            journal.commit([(NOW, row)])
    for key, row in [(b"run", DOG), (b"other threshold", other)]:
        with opened(path, key) as journal:
            assert find(journal, "1.jpg", NOW) == row


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_journal_takes_any_number_at_once(path, count):
    tags = [Scores(f"{index}.jpg", ("dog",), (index / 256,)) for index in range(count)]
    with opened(path) as journal:
        journal.commit(
            [(NOW, each) for each in tags],
            [Written(each.image, "txt", b"", None) for each in tags],
        )
        asked = [(each.image, NOW) for each in tags]
        assert journal.find([*asked, ("other.jpg", NOW), ("0.jpg", None)]) == [*tags, None, None]
        assert all(journal.written(each.image, "txt") for each in tags)


def test_journal_commits_all_or_nothing(path):
    unknown = Written("1.jpg", "txt", None, None)  # type: ignore[arg-type]
    with opened(path) as journal:
        with pytest.raises(TwlError, match="NOT NULL"):
            journal.commit([(NOW, DOG)], [unknown])
        assert find(journal, "1.jpg", NOW) is None
        journal.commit([(NOW, DOG)])
        assert find(journal, "1.jpg", NOW) == DOG


def test_journal_knows_what_was_written_beside_an_image(path):
    full = Written("a\udcff.jpg", "xmp:full", b"digest", (12, 34))
    none = Written("b.jpg", "xmp:full", b"digest", None)
    with opened(path) as journal:
        journal.commit([], [full, none])
        journal.commit([], [])
    with opened(path, b"another run") as journal:  # it would write the same file
        assert journal.written("a\udcff.jpg", "xmp:full") == full
        assert journal.written("b.jpg", "xmp:full") == none
        assert journal.written("b.jpg", "txt:stem") is None


def test_journal_tells_its_own_outputs_from_others(path, tmp_path):
    out, partial = tmp_path / "tags.csv", tmp_path / "tags.csv.partial"
    out.write_text("theirs")
    with opened(path) as journal:
        assert not journal.made(out, partial)
        partial.touch()
        journal.begin([out])
        assert not journal.made(out, partial)
        partial.replace(out)  # a kill here leaves it as the run's own
        assert journal.made(out, partial)
        journal.finish([out])
        assert journal.made(out, partial)
    with opened(path, b"other threshold") as journal:
        assert not journal.made(out, partial)
    with opened(path) as journal:
        partial.touch()
        journal.begin([out])
        assert journal.made(out, partial)  # an update that was killed early
        out.write_text("edited by hand")
        assert not journal.made(out, partial)


def test_outputs_are_those_of_a_threshold_and_scores_those_of_a_model(path, tmp_path):
    out, partial = tmp_path / "tags.csv", tmp_path / "tags.csv.partial"
    out.touch()
    for number, outputs_key in enumerate([b"low", b"high", b"low"]):
        with open_journal(path, b"model", LABELS, outputs_key=outputs_key) as journal:
            assert find(journal, "1.jpg", NOW) == (DOG if number else None)
            assert journal.made(out, partial) == (number == 2)
            if number == 0:
                journal.commit([(NOW, DOG)])
                journal.finish([out])


def test_journal_in_use_is_refused(path):
    with opened(path), pytest.raises(TwlError) as caught, opened(path):
        pytest.fail("opened twice")
    assert str(caught.value).startswith(f"{path}: is in use by another run of twl")
    with opened(path) as journal:
        assert find(journal, "1.jpg", NOW) is None


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()


def of_another_layout(path):
    with opened(path) as journal:
        assert journal.path == path
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged(path):
    with opened(path) as journal:
        journal.commit([(NOW, Scores(f"{index}.jpg", (), ())) for index in range(500)])
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("image,labels\n" * 100), "is not a journal"),
        (foreign, "is an SQLite file, but not a journal of twl"),
        (
            of_another_layout,
            r"of another version of twl \(layout 99; this one reads 1\)",
        ),
        (damaged, "journal is corrupt"),
        (lambda path: path.mkdir(), "is not a regular file"),
    ],
)
def test_journal_refuses_other_files_in_one_line(path, make, message):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(TwlError, match=message) as caught, opened(path) as journal:
        find(journal, "1.jpg", NOW)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    if before is not None and make is not damaged:
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE rows SET tags = x'01'",
        "UPDATE rows SET tags = x'ffffffff00000000'",
        "UPDATE rows SET tags = 'text'",
        "UPDATE rows SET tags = NULL, reason = x'ff'",
        "UPDATE rows SET tags = NULL, reason = 5",
    ],
)
def test_journal_with_a_damaged_row_is_refused_in_one_line(path, damage):
    with opened(path) as journal:
        journal.commit([(NOW, DOG)])
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    message = f"^{path}: journal is corrupt \\(the row of '1.jpg'\\); delete it to start over"
    with opened(path) as journal, pytest.raises(TwlError, match=message):
        find(journal, "1.jpg", NOW)


def test_journal_needs_its_folder(tmp_path):
    with pytest.raises(TwlError, match="there is no folder"), opened(tmp_path / "no" / "journal"):
        pytest.fail("opened in no folder")


def test_journal_begins_in_an_empty_file(path):
    path.touch()  # SQLite's own first step, so a kill may leave it
    with opened(path) as journal:
        journal.commit([(NOW, DOG)])
        assert find(journal, "1.jpg", NOW) == DOG
    assert not list(path.parent.glob("*-wal")) and not list(path.parent.glob("*-shm"))


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.tagging.test_journal import NOW, opened
from twlcli.images.identity import Identity
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.tags import Scores
with opened(Path(sys.argv[1])) as journal:
    for index in range(50):
        journal.commit([(NOW, Scores(f"{index}.jpg", ("dog",), (0.5,)))])
    connection = journal._file._connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO rows VALUES (1, CAST('half.jpg' AS BLOB), 1, 1, 0, 0, '', 0)")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_journal_of_a_killed_process_has_every_commit(path):
    done = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True)
    assert done.returncode == -9, done.stderr
    with opened(path) as journal:
        found = journal.find([(f"{index}.jpg", NOW) for index in range(50)])
        assert found == [Scores(f"{index}.jpg", ("dog",), (0.5,)) for index in range(50)]
        assert find(journal, "half.jpg", NOW) is None


def test_probabilities_keep_every_bit(path):
    values = np.random.default_rng(0).random(3, dtype=np.float32)
    tags = Scores("1.jpg", LABELS.names, tuple(values.tolist()))
    with opened(path) as journal:
        journal.commit([(NOW, tags)])
        assert find(journal, "1.jpg", NOW) == tags


def test_a_folder_that_cannot_be_written_is_said(path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: place != path.parent)
    refused = pytest.raises(TwlError, match=r"the folder .* cannot be written")
    with refused, opened(path):
        pass
    assert not path.exists()

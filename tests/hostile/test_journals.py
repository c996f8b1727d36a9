"""Journals that came with a folder, made by somebody who means harm."""

import os
import sqlite3
import struct
import tempfile
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.hostile.test_links import twl
from tests.images.encoded import encode
from tests.tagging.models import write_model
from tests.tagging.test_journal import DOG, LABELS, NOW, find
from twlcli.errors import TwlError
from twlcli.tagging import journal_file
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.journal import open_journal, open_notes

posix = pytest.mark.skipif(os.name != "posix", reason="links and owners of POSIX")
ENDLESS = "(WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r)"


@pytest.fixture
def path(tmp_path):
    """A journal with a row and a sidecar."""
    path: Path = tmp_path / ".twl-journal"
    with open_journal(path, b"run", LABELS) as journal:
        journal.commit([(NOW, DOG)], [Written("1.jpg", "txt:stem", b"x" * 40, (1, 2))])
    return path


def changed(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    for statement in statements:
        connection.execute(statement, values)
    connection.close()


def refused(path: Path, message: str) -> str:
    """Everything that can be asked of a journal; it has to be refused in one line, and quickly."""
    begin = time.monotonic()
    with pytest.raises(TwlError, match=message) as caught, open_journal(path, b"run", LABELS) as it:
        find(it, "1.jpg", NOW)
        it.written("1.jpg", "txt:stem")
        it.all_written(["txt"])
    assert time.monotonic() - begin < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TRIGGER t AFTER INSERT ON runs BEGIN SELECT count(*) FROM {ENDLESS}; END",
        f"CREATE VIEW v AS SELECT x FROM {ENDLESS}",
        "CREATE INDEX i ON rows (size)",
        "CREATE INDEX i ON rows (abs(size))",
        "CREATE TABLE more (x)",
        "CREATE VIRTUAL TABLE more USING fts5 (x)",
        "ALTER TABLE rows ADD COLUMN more",
        "ALTER TABLE rows ADD COLUMN more AS (zeroblob(1000000000))",
        "DROP TABLE sidecars",
    ],
)
def test_a_journal_with_more_than_twls_own_tables_is_refused(path, statement):
    changed(path, statement)
    refused(path, "holds more than twl's own tables; delete it|is an SQLite file")
    with pytest.raises(TwlError), open_notes(path):
        pytest.fail("opened")


def test_a_view_in_the_place_of_a_table_is_refused(path):
    columns = "1 run, x'' name, 1 size, 1 mtime_ns, 0 offset, NULL sha256, x'' tags, NULL reason"
    changed(path, "DROP TABLE rows", f"CREATE VIEW rows AS SELECT {columns} FROM {ENDLESS}")
    refused(path, "more than twl's own tables")


def test_tables_with_checks_and_defaults_of_their_own_are_refused(path):
    sql = "UPDATE sqlite_schema SET sql = replace(sql, 'tags BLOB', 'tags BLOB CHECK (abs(1))')"
    changed(path, "PRAGMA writable_schema = ON", sql)
    refused(path, "more than twl's own tables")


def test_a_statement_that_does_not_end_is_stopped(path, monkeypatch):
    """None of twl's can; a damaged tree of pages might lead one in circles."""
    monkeypatch.setattr(journal_file, "_MOST_STEPS", 3)
    with open_journal(path, b"run", LABELS) as journal, pytest.raises(TwlError, match="corrupt"):
        journal._file.execute(f"SELECT count(*) FROM {ENDLESS}")


def tags(*values: float, columns: tuple[int, ...]) -> bytes:
    return zlib.compress(struct.pack(f"<{len(columns)}I{len(values)}f", *columns, *values))


@pytest.mark.parametrize(
    "row",
    [
        tags(0.9, 0.8, columns=(1, 1)),
        tags(1.5, columns=(1,)),
        tags(-0.5, columns=(1,)),
        tags(float("nan"), columns=(1,)),
        tags(float("inf"), columns=(1,)),
        tags(0.5, float("nan"), columns=(1,)),  # the largest of those left out
        tags(0.5, columns=(3,)),
        tags(*[0.5] * 4, columns=(0, 1, 2, 0)),
        zlib.compress(bytes(100_000_000)),
        zlib.compress(bytes(12))[:-4],
        b"",
    ],
)
def test_rows_that_no_model_gives_are_refused(path, row):
    changed(path, "UPDATE rows SET tags = ?", values=(row,))
    refused(path, r"journal is corrupt \(the row of '1.jpg'\); delete it to start over")


def test_a_huge_value_is_not_read(path):
    changed(path, "UPDATE rows SET tags = zeroblob(50000000)")
    refused(path, "journal is corrupt")
    changed(path, "UPDATE rows SET tags = NULL", "UPDATE sidecars SET content = zeroblob(50000000)")
    refused(path, "journal is corrupt")


@pytest.mark.parametrize(
    "values", ["content = 5", "kind = x'00'", "name = 5", "content = 'text'", "size = 'many'"]
)
def test_notes_of_another_kind_are_corrupt_or_not_twls(path, values):
    changed(path, f"UPDATE sidecars SET {values}")
    with open_journal(path, b"run", LABELS) as journal:
        try:
            found = journal.all_written(["txt"])
        except TwlError as error:
            assert "journal is corrupt" in str(error)
        else:
            assert [each.status for each in found] == [None] * len(found)


@posix
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("exists", [True, False])
def test_links_are_not_followed(tmp_path, suffix, exists):
    target, path = tmp_path / "target", tmp_path / "folder" / "j"
    path.parent.mkdir()
    if exists:
        target.touch()
    path.with_name("j" + suffix).symlink_to(target)
    refused(path, "is not a regular file")
    assert target.exists() == exists and (not exists or target.read_bytes() == b"")


@posix
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_second_name_of_a_file_is_not_written_into(tmp_path, suffix):
    target, path = tmp_path / "target", tmp_path / "j"
    target.touch()
    path.with_name("j" + suffix).hardlink_to(target)
    refused(path, "several names")
    assert target.read_bytes() == b""


def hot_journal(path: Path, names: Path) -> None:
    """A rollback journal as SQLite would leave it, which is part of another's transaction."""
    size = path.stat().st_size // 4096
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 0, 7, size, 512, 4096)
    name = os.fsencode(names)
    end = struct.pack(">II", len(name), sum(name)) + magic
    page = struct.pack(">I", (1 << 30) // 4096 + 1)
    path.with_name(path.name + "-journal").write_bytes(header.ljust(512, b"\0") + page + name + end)


def test_sqlite_deletes_no_file_that_a_rollback_journal_names(path, tmp_path):
    precious = tmp_path / "precious"
    changed(path, "SELECT 1")  # out of the write-ahead mode
    for check in (False, True):  # first that the attack is one
        precious.write_text("precious")
        hot_journal(path, precious)
        if check:
            refused(path, "is not twl's, whose journals have no such file; delete it")
        else:
            changed(path, "SELECT * FROM rows")
        assert precious.exists() == check


def test_no_rollback_journal_is_ever_beside_a_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "_STEPS_AT_ONCE", 1)
    path = tmp_path / "journal"
    seen: set[str] = set()

    def look(self):
        seen.update(each.name for each in tmp_path.iterdir())
        return False

    monkeypatch.setattr(journal_file.JournalFile, "_count", look)
    with pytest.raises(TwlError, match="end"), open_journal(path, b"run", LABELS) as journal:
        journal.commit([(NOW, DOG)])
        journal._file.execute("DELETE FROM rows")
        raise TwlError("end")
    assert not path.exists() and seen == {"journal", "journal-wal"}


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")
def test_a_journal_of_another_user_counts_only_when_it_is_named(path):
    os.chown(path, 12345, 12345)
    with open_journal(path, b"run", LABELS) as journal:
        assert find(journal, "1.jpg", NOW) == DOG
    with (
        pytest.raises(TwlError, match="belongs to another user") as caught,
        open_journal(path, b"run", LABELS, own=True),
    ):
        pytest.fail("opened")
    assert caught.value.hinted(lambda name: f"--{name}") == "name it with --journal if you trust it"
    os.chown(path, os.geteuid(), 0)
    with open_journal(path, b"run", LABELS, own=True) as journal:
        assert find(journal, "1.jpg", NOW) == DOG


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")
def test_where_all_files_get_one_owner_the_journal_is_the_users(path, monkeypatch):
    """As on a network drive: the owner is what the drive says."""
    os.chown(path, 12345, 12345)
    made = tempfile.TemporaryFile

    def on_a_drive(**options):
        file = made(**options)
        os.fchown(file.fileno(), 12345, 12345)
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_drive)
    with open_journal(path, b"run", LABELS, own=True) as journal:
        assert find(journal, "1.jpg", NOW) == DOG


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(Image.new("RGB", (30, 20), (255, 0, 0)), "PNG"))
    return folder


def test_the_commands_say_so_in_one_line(photos, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    assert twl("tag", photos, "--model", model, "--txt").exit_code == 0
    changed(photos / ".twl-journal", "CREATE VIEW v AS SELECT 1")
    for command in (("tag", photos, "--model", model, "--txt"), ("untag", photos)):
        result = twl(*command)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert ".twl-journal: holds more than twl's own tables; delete it" in result.stderr


@pytest.mark.parametrize("make", ["../outside/{}", "{folder}/{}", "sub/../../outside/{}"])
def test_untag_touches_no_file_outside_that_a_journal_names(photos, tmp_path, make):
    """Neither the kind that is removed unseen nor the kind whose end is cut off."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (photos / "sub").mkdir()
    (outside / "whole.txt").write_text("whole")
    (outside / "cut.txt").write_text("by hand, dog")
    notes = []
    for name, kind, memo in (("whole", "txt", b""), ("cut", "txt-append", b"+, dog")):
        status = (outside / f"{name}.txt").stat()
        image = make.format(f"{name}.jpg", folder=outside)
        status_then = (status.st_size, status.st_mtime_ns)
        notes.append(Written(image, f"{kind}:stem", b"d" * 32 + memo, status_then))
    with open_journal(photos / ".twl-journal", b"run", LABELS) as journal:
        journal.commit([], notes)
    result = twl("untag", photos)
    assert result.exit_code == 3 and result.stderr.count("lies outside of what was given") == 2
    assert (outside / "whole.txt").read_text() == "whole"
    assert (outside / "cut.txt").read_text() == "by hand, dog"


def test_a_tree_of_pages_that_leads_in_circles_is_not_followed(tmp_path):
    """Every branch of the table's root leads to the same page, whose rows come again and again."""
    path = tmp_path / "journal"
    with open_journal(path, b"run", LABELS) as journal:
        notes = [Written(f"{number:05}.jpg", "txt:stem", b"x" * 200, None) for number in range(900)]
        journal.commit([], notes)
    changed(path, "SELECT 1")
    connection = sqlite3.connect(path)
    query = "SELECT rootpage FROM sqlite_schema WHERE name = 'sidecars'"
    ((root,),) = connection.execute(query).fetchall()
    connection.close()
    content = bytearray(path.read_bytes())
    begin = (root - 1) * 4096
    assert content[begin] == 2  # an inner page
    (cells,) = struct.unpack_from(">H", content, begin + 3)
    assert cells > 1
    pointers = struct.unpack_from(f">{cells}H", content, begin + 12)
    for pointer in pointers:
        content[begin + pointer : begin + pointer + 4] = content[
            begin + pointers[0] : begin + pointers[0] + 4
        ]
    path.write_bytes(content)
    with (
        open_journal(path, b"run", LABELS) as journal,
        pytest.raises(TwlError, match=r"journal is corrupt \(the sidecar of"),
    ):
        journal.all_written(["txt"])

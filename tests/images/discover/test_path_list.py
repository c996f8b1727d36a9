import codecs
import io
import os

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.images.discover.path_list import MAX_NAME, read_list


class Pipe(io.BytesIO):
    """Gives what it holds in pieces."""

    size = 1

    def read1(self, size=-1):
        return super().read1(self.size)


def read(content: bytes, **options) -> list[str]:
    return list(read_list(io.BytesIO(content), source="list", **options))


@given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name)))
def test_names_that_end_with_nul_are_kept_exactly(raw):
    names = read(b"".join(name + b"\0" for name in raw), null=True)
    assert [os.fsencode(name) for name in names] == raw


@given(
    st.lists(st.binary(max_size=9).filter(lambda name: not {0, 10, 13} & set(name))),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 5),
)
def test_lines_are_kept_exactly_but_for_blank_ones(raw, end, size):
    content = end.join(raw)
    assume(not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))  # another encoding
    pipe = Pipe(content)
    pipe.size = size
    names = list(read_list(pipe, source="list"))
    assert [os.fsencode(name) for name in names] == [
        name.removeprefix(b"\xef\xbb\xbf") if place == 0 else name
        for place, name in enumerate(raw)
        if name.strip(b" \t\r\n\v\f") not in (b"", b"\xef\xbb\xbf" if place == 0 else b"")
    ]


def test_ends_of_lines():
    assert read(b"a.jpg\r\n\r\n  \n\tb.jpg \n\xff.jpg") == ["a.jpg", "\tb.jpg ", "\udcff.jpg"]
    assert read(b"\xef\xbb\xbfa.jpg\n") == ["a.jpg"]
    assert read(b"a\r\0\0 \0b\nc", null=True) == ["a\r", " ", "b\nc"]
    assert read(b"") == []


def test_names_with_nul_in_lines_are_refused():
    with pytest.raises(TwlError, match=r"list:2: a NUL character.*`null`"):
        read(b"a.jpg\nb.jpg\0c.jpg\n")


def test_what_is_no_list_is_refused_in_bounded_memory():
    class Endless(io.BytesIO):
        def read1(self, size=-1):
            assert self.tell() < 4 * MAX_NAME
            self.seek(size, io.SEEK_CUR)
            return b"x" * size

    names = read_list(Endless(), source="list")
    with pytest.raises(TwlError, match="list:1: a name of more than 65,536 bytes"):
        next(names)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_utf_16_is_read_by_its_byte_order_mark(encoding, size):
    pipe = Pipe("\ufeffa.jpg\r\nü 🙂.jpg\r\n".encode(encoding))
    pipe.size = size
    assert list(read_list(pipe, source="list")) == ["a.jpg", "ü 🙂.jpg"]


def test_a_name_is_the_file_that_it_means(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a b.jpg", "in/ü.jpg", '"odd".jpg', " c.jpg"):
        (tmp_path / name).touch()
    names = {
        '"a b.jpg"': "a b.jpg",
        "'a b.jpg' ": "a b.jpg",
        "a b.jpg\t": "a b.jpg",
        (tmp_path / "in" / "ü.jpg").as_uri(): str(tmp_path / "in" / "ü.jpg"),
        f"FILE://localhost{tmp_path}/a%20b.jpg": str(tmp_path / "a b.jpg"),
        "in\\ü.jpg": "in/ü.jpg",
        '".\\in\\ü.jpg"': "./in/ü.jpg",
        '"odd".jpg': '"odd".jpg',  # there is such a file
        " c.jpg": " c.jpg",
        '"gone.jpg"': '"gone.jpg"',  # an error says it as it stands in the list
        "gone\\b.jpg": "gone\\b.jpg",
    }
    assert read("\n".join(names).encode()) == list(names.values())
    assert read("\0".join(names).encode(), null=True) == list(names)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xmp.photographs import UTF8, data_set, iptc, resources
from twlcli.errors import ImageError
from twlcli.xmp.iptc import iptc_keywords, iptc_of_photoshop


@pytest.mark.parametrize(
    ("word", "charset", "read"),
    [
        ("Été".encode(), UTF8, "Été"),
        ("Été".encode(), b"", "Été"),
        ("Été".encode("latin-1"), b"", "Été"),
        ("Été".encode("latin-1"), b"\x1b.A", "Été"),
        (b"\xc3\xa9", b"\x1b.A", "Ã©"),  # though it could be UTF-8
        (b"\xe9t", UTF8, "\ufffdt"),
        ("Été".encode("latin-1"), b"\x1b$B", "Été"),  # a set that nobody reads
    ],
)
def test_a_keyword_is_decoded_as_the_character_set_says(word, charset, read):
    assert iptc_keywords(iptc(word, charset=charset)) == [read]


@given(st.lists(st.text().filter(lambda text: len(text.encode("utf-8", "replace")) < 0x8000)))
def test_keywords_are_read_as_they_were_written(words):
    content = iptc(*(word.encode("utf-8", "replace") for word in words), charset=UTF8)
    assert iptc_keywords(content + bytes(3)) == [
        w.encode("utf-8", "replace").decode() for w in words
    ]


def test_a_value_may_be_long():
    value = b"x" * 40_000
    long = b"\x1c\x02\x19\x80\x04" + len(value).to_bytes(4) + value
    assert iptc_keywords(long + data_set(25, b"dog")) == ["x" * 40_000, "dog"]


def test_numbers_of_the_other_byte_order_are_turned():
    content = iptc(b"dog", b"sea")
    content += bytes(-len(content) % 4)
    turned = b"".join(content[at : at + 4][::-1] for at in range(0, len(content), 4))
    assert iptc_keywords(turned) == ["dog", "sea"]


@pytest.mark.parametrize("name", [b"", b"a", b"ab"])
def test_iptc_is_found_among_resources(name):
    assert iptc_of_photoshop(resources(b"content", name=name)) == b"content"
    assert iptc_of_photoshop(resources(b"content")[:12]) == b""


@given(st.binary(max_size=200))
def test_damaged_iptc_is_read_or_refused(content):
    for damaged in (content, b"\x1c" + content, iptc(b"dog") + content):
        try:
            iptc_keywords(damaged)
        except ImageError as error:
            assert "IPTC" in str(error)
    iptc_of_photoshop(content)
    iptc_of_photoshop(b"8BIM" + content)


def test_keywords_without_end_are_refused():
    with pytest.raises(ImageError, match="more than 100,000 keywords"):
        iptc_keywords(data_set(25, b"") * 100_001)

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.outputs.foreign_xmp import DARKTABLE, DIGIKAM, LIGHTROOM, SIDECARS
from twlcli.errors import ImageError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.tagging.outputs.xmp.merging import EMPTY, merge, untagged
from twlcli.tagging.outputs.xmp.writer import XmpWriter
from twlcli.tagging.tags import Tags
from twlcli.xmp import keywords
from twlcli.xmp.packet import MAXIMUM_BYTES
from twlcli.xmp.place import TWL

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
LR = "{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject"
RECORD = "{http://twlcli/ns/1.0/}addedSubject"
DIGIKAM_LIST = "{http://www.digikam.org/ns/1.0/}TagsList"
WORDS = st.sampled_from(["dog", "cat", "beach", "places", "sea|deep", "animal|dog", "AC/DC", "Ada"])
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed"
)


def read(content: bytes, name: str) -> list[str]:
    root = ET.fromstring(content)
    return [
        item.text or ""
        for each in root.iter(name)
        for item in each.iter()
        if re.fullmatch(rf"{RDF}(li|_\d+)", item.tag)
    ]


def merged(content: bytes, *labels: str, model: str = "m1", hierarchy: str = "|") -> bytes:
    return merge(content, labels, model=model, hierarchy=hierarchy) or EMPTY


def sidecar(*lines: str) -> bytes:
    """A sidecar with these lines inside of its rdf:RDF."""
    return EMPTY.replace(b" </rdf:RDF>", "\n".join([*lines, " </rdf:RDF>"]).encode())


def subject(*items: str, kind: str = "Bag") -> str:
    entries = "".join(f"<rdf:li>{item}</rdf:li>" for item in items)
    return (
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject>'
        f"<rdf:{kind}>{entries}</rdf:{kind}></dc:subject></rdf:Description>"
    )


def test_flat_tags_stand_in_subject_and_tags_list():
    content = merged(EMPTY, "dog", "a & <b>")
    assert read(content, SUBJECT) == read(content, DIGIKAM_LIST) == ["dog", "a & <b>"]
    assert read(content, LR) == []


def test_levels_stand_in_all_three_lists():
    content = merged(EMPTY, "animal|dog", "animal|cat", "AC/DC")
    assert read(content, SUBJECT) == ["animal", "dog", "cat", "AC/DC"]
    assert read(content, LR) == ["animal|dog", "animal|cat", "AC/DC"]
    assert read(content, DIGIKAM_LIST) == ["animal/dog", "animal/cat", "AC\\DC"]


def test_the_separator_of_levels_is_chosen():
    content = merged(EMPTY, "animal/dog", "a|b", hierarchy="/")
    assert read(content, SUBJECT) == ["animal", "dog", "a|b"]
    assert read(content, LR) == ["animal|dog", "a\\b"]
    content = merged(EMPTY, "animal|dog", hierarchy="")
    assert read(content, SUBJECT) == ["animal|dog"]
    assert read(content, LR) == []


@pytest.mark.parametrize("before", SIDECARS.values(), ids=SIDECARS)
@pytest.mark.parametrize("labels", [("dog",), ("animal|dog", "sea"), ("holiday", "Ada")])
def test_every_line_of_the_sidecar_stays_in_its_place(before, labels):
    after = merged(before, *labels)
    lines = iter(after.splitlines())
    assert all(line in lines for line in before.splitlines())
    assert set(labels[-1:]) <= set(read(after, SUBJECT))


@pytest.mark.parametrize("before", [EMPTY, *SIDECARS.values()], ids=["empty", *SIDECARS])
def test_without_tags_the_sidecar_is_what_it_was(before):
    after = before
    for labels in [("dog", "animal|cat"), ("animal|cat|tom", "holiday"), ("sea",), ("dog", "Ada")]:
        after = merged(after, *labels)
    assert merged(after) == before


def test_the_users_keywords_come_first_and_stay():
    first = merged(LIGHTROOM, "dog", "beach")
    assert read(first, SUBJECT) == ["holiday", "places", "beach", "dog"]
    second = merged(first, "cat", model="m2")
    assert read(second, SUBJECT) == ["holiday", "places", "beach", "cat"]
    assert b"<twl:model>m2</twl:model>" in second
    assert b"m1" not in second


def test_what_the_user_adds_between_two_runs_stays():
    first = merged(LIGHTROOM, "dog")
    edited = first.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>mine</rdf:li>", 1)
    assert read(merged(edited, "cat"), SUBJECT) == ["holiday", "places", "beach", "mine", "cat"]


def test_only_one_of_two_equal_keywords_is_twls():
    first = merged(sidecar(), "dog")
    edited = first.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>dog</rdf:li>", 1)
    assert read(merged(edited), SUBJECT) == ["dog"]


def test_a_list_that_programs_prefer_gets_flat_tags_too():
    after = merged(DIGIKAM, "dog")
    assert read(after, DIGIKAM_LIST) == ["People/Ada", "Jürgen", "dog"]
    assert read(after, LR) == []
    after = merged(DARKTABLE, "dog")
    assert read(after, LR) == ["places|sea", "dog"]
    assert read(after, DIGIKAM_LIST) == ["places/sea", "dog"]


def test_a_list_that_twl_begins_does_not_hide_the_users_keywords():
    after = merged(LIGHTROOM, "animal|dog")
    assert read(after, DIGIKAM_LIST) == ["holiday", "places/beach", "animal/dog"]
    assert read(after, SUBJECT) == ["holiday", "places", "beach", "animal", "dog"]
    after = merged(sidecar(subject("mine")), "animal|dog")
    assert read(after, LR) == ["mine", "animal|dog"]
    assert read(merged(after, "dog"), LR) == []


def described(subject: str = "", *, lr: str = "", digikam: str = "") -> bytes:
    """A sidecar with these entries, which commas part."""
    parts = []
    for name, uri, entries in (
        ("dc:subject", "http://purl.org/dc/elements/1.1/", subject),
        ("lr:hierarchicalSubject", "http://ns.adobe.com/lightroom/1.0/", lr),
        ("digiKam:TagsList", "http://www.digikam.org/ns/1.0/", digikam),
    ):
        if entries:
            items = "".join(f"<rdf:li>{entry}</rdf:li>" for entry in entries.split(","))
            prefix = name.partition(":")[0]
            parts.append(
                f'<rdf:Description rdf:about="" xmlns:{prefix}="{uri}">'
                f"<{name}><rdf:Bag>{items}</rdf:Bag></{name}></rdf:Description>"
            )
    return sidecar(*parts)


def lists(content: bytes) -> list[list[str]]:
    return [read(content, name) for name in (SUBJECT, LR, DIGIKAM_LIST)]


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        # What the user keeps below other levels is not added at the root.
        (
            described("car,Vehicles", lr="Vehicles|car", digikam="Vehicles/car"),
            "car",
            [["car", "Vehicles"], ["Vehicles|car"], ["Vehicles/car"]],
        ),
        (
            described("car,Vehicles", lr="Vehicles|car"),
            "car",
            [["car", "Vehicles"], ["Vehicles|car"], ["Vehicles/car"]],
        ),
        (
            described("Dog", digikam="Living/Animal/Dog"),
            "animal|dog",
            [["Dog", "animal"], ["Living|Animal|Dog"], ["Living/Animal/Dog"]],
        ),
        # What ends alike is another keyword all the same.
        (
            described("racecar", lr="Vehicles|racecar"),
            "car",
            [["racecar", "car"], ["Vehicles|racecar", "car"], ["Vehicles/racecar", "car"]],
        ),
        # Other spellings: letter case, space, Unicode forms.
        (described("Dog"), "dog", [["Dog"], [], ["Dog"]]),
        (described(" dog "), "dog", [[" dog "], [], [" dog "]]),
        (described("cafe\u0301"), "caf\u00e9", [["cafe\u0301"], [], ["cafe\u0301"]]),
        (described("Straße", lr="Straße"), "STRASSE", [["Straße"], ["Straße"], ["Straße"]]),
    ],
)
def test_what_the_user_has_is_not_added_in_another_spelling_or_place(before, label, after):
    assert lists(merged(before, label)) == after
    assert untagged(merged(before, label)) == before


def test_labels_that_differ_in_spelling_are_one_keyword():
    assert read(merged(EMPTY, "dog", "Dog", " dog"), SUBJECT) == ["dog"]
    again = merged(merged(EMPTY, "dog"), "Dog", model="m2")
    assert read(again, SUBJECT) == ["dog"]


def without(content: bytes, *keywords: str) -> bytes:
    """As a program leaves a sidecar whose user deletes keywords: twl's own memory stays."""
    memory = content.index(b"<twl:")
    head, tail = content[:memory], content[memory:]
    for keyword in keywords:
        head = re.sub(rb"\s*<rdf:li>[^<]*%s</rdf:li>" % keyword.encode(), b"", head)
    return head + tail


def test_a_deleted_keyword_stays_deleted():
    edited = without(merged(EMPTY, "car", "dog"), "car")
    assert lists(edited) == [["dog"], [], ["dog"]]
    for labels in (("car", "dog", "cat"), ("cat",), ("car",), (), ("car", "cat")):
        edited = merged(edited, *labels)
        expected = [label for label in labels if label != "car"]
        assert lists(edited) == [expected, [], expected]
    restored = merge(edited, ["car", "cat"], model="m1", restore=True)
    assert restored is not None
    assert lists(restored) == [["cat", "car"], [], ["cat", "car"]]
    assert b"twl:deleted" not in restored
    assert untagged(edited) is None  # EMPTY


def test_a_keyword_that_was_deleted_in_one_list_goes_from_the_others():
    """`exiftool -Subject-=dog` knows of one list only."""
    before = merged(LIGHTROOM, "animal|dog", "sea")
    in_subject = before.replace(b"<rdf:li>dog</rdf:li>", b"", 1)
    in_levels = before.replace(b"<rdf:li>animal|dog</rdf:li>", b"", 1)
    assert before != in_subject != in_levels != before
    for edited in (in_subject, in_levels):
        after = merged(edited, "animal|dog", "sea")
        for name in (SUBJECT, LR, DIGIKAM_LIST):
            assert not [entry for entry in read(after, name) if "dog" in entry]
            assert "sea" in read(after, name)
        assert merged(after, "animal|dog", "sea") == after
        assert untagged(after) == LIGHTROOM


def test_a_level_that_was_deleted_is_not_written_again_and_its_tag_stays():
    before = merged(sidecar(subject("mine")), "animal|dog")
    edited = before.replace(b"<rdf:li>animal</rdf:li>", b"", 1)
    after = merged(edited, "animal|dog", "sea")
    assert lists(after) == [
        ["mine", "dog", "sea"],
        ["mine", "animal|dog", "sea"],
        ["mine", "animal/dog", "sea"],
    ]


def test_a_keyword_that_the_user_adds_again_is_the_users():
    gone = merged(without(merged(EMPTY, "car", "dog"), "car"), "car", "dog")
    again = gone.replace(b"<rdf:li>dog</rdf:li>", b"<rdf:li>dog</rdf:li><rdf:li>Car</rdf:li>", 1)
    after = merged(again, "car", "cat")
    assert read(after, SUBJECT) == ["Car", "cat"]
    assert b"twl:deleted" not in after
    assert read(untagged(after) or b"", SUBJECT) == ["Car"]


def test_a_list_that_a_program_dropped_is_written_again():
    before = merged(EMPTY, "dog")
    dropped = re.sub(rb"\s*<digiKam:TagsList>.*</digiKam:TagsList>", b"", before, flags=re.DOTALL)
    assert lists(dropped) == [["dog"], [], []]
    assert lists(merged(dropped, "dog")) == [["dog"], [], ["dog"]]


def test_a_keyword_deleted_under_a_name_with_separators():
    edited = without(merged(EMPTY, "music|AC/DC", "sea"), "AC/DC", "AC.DC")
    after = merged(edited, "music|AC/DC", "sea")
    assert lists(after) == [["sea"], [], ["sea"]]


NUMBERED = subject().replace(
    "<rdf:Bag></rdf:Bag>", "<rdf:Bag><rdf:_1>beach</rdf:_1> <rdf:_2>sea</rdf:_2></rdf:Bag>"
)


def test_numbered_members_of_a_list_are_the_users():
    before = sidecar(NUMBERED)
    after = merged(before, "Sea", "dog", "cat")
    assert b"<rdf:_2>sea</rdf:_2><rdf:_3>dog</rdf:_3><rdf:_4>cat</rdf:_4>" in after
    assert read(after, DIGIKAM_LIST) == ["beach", "sea", "dog", "cat"]
    assert merged(after) == untagged(after) == before


def test_what_is_no_entry_of_a_list_stays():
    before = sidecar(subject("dog").replace("<rdf:li>dog</rdf:li>", "<a:b xmlns:a='u:a'>c</a:b>"))
    assert merged(merged(before, "dog")) == before


KEYS = list(keywords.LISTS)


def test_a_new_packet_begins_with_the_keywords_elsewhere():
    def elsewhere():
        return dict(zip(KEYS, [["Alice", "beach", "alice"], ["People|Alice"], []], strict=True))

    before = merge(EMPTY, ["vehicle|car"], model="m", elsewhere=elsewhere, began=True)
    assert before is not None
    assert lists(before) == [
        ["Alice", "beach", "vehicle", "car"],
        ["People|Alice", "vehicle|car"],
        ["People/Alice", "beach", "vehicle/car"],
    ]
    assert untagged(before) is None
    assert merge(before, [], model="m") is None
    assert merge(EMPTY, [], model="m", elsewhere=elsewhere, began=True) is None
    # What the user has done with the copies stays.
    mine = before.replace(b"beach</rdf:li>", b"beach</rdf:li><rdf:li>mine</rdf:li>", 1)
    assert lists(untagged(mine) or b"") == [["Alice", "beach", "mine"], ["People|Alice"], []]
    fewer = without(before, "beach")
    assert lists(untagged(fewer) or b"") == [["Alice"], ["People|Alice"], []]
    rated = sidecar('<rdf:Description rdf:about="" a:Rating="5" xmlns:a="http://a/"/>')
    after = merge(rated, ["dog"], model="m", elsewhere=elsewhere)
    assert after is not None and read(after, SUBJECT) == ["Alice", "beach", "dog"]
    assert untagged(after) == rated


def test_keywords_elsewhere_do_not_come_back_after_the_user_deleted_all():
    def elsewhere():
        return dict(zip(KEYS, [["Alice"], [], []], strict=True))

    before = merge(EMPTY, ["dog"], model="m", elsewhere=elsewhere, began=True)
    assert before is not None
    edited = without(before, "Alice", "dog")
    after = merge(edited, ["dog", "cat"], model="m", elsewhere=elsewhere)
    assert after is not None and lists(after) == [["cat"], [], ["cat"]]


@pytest.mark.parametrize("kind", ["Bag", "Seq", "Alt"])
def test_any_kind_of_list_is_kept(kind):
    after = merged(sidecar(subject("mine", kind=kind)), "dog")
    assert f"<rdf:{kind}><rdf:li>mine</rdf:li><rdf:li>dog</rdf:li></rdf:{kind}>" in after.decode()


@pytest.mark.parametrize(
    "written",
    [
        "<rdf:Description><dc:subject>mine</dc:subject></rdf:Description>",
        "<rdf:Description a:b='1' dc:subject='mine' xmlns:a='http://a/'/>",
        "<rdf:Description><dc:subject/></rdf:Description>",
        "<rdf:Description><dc:subject><rdf:Bag/></dc:subject></rdf:Description>",
        "<rdf:Description><dc:subject><rdf:Bag></rdf:Bag></dc:subject></rdf:Description>",
    ],
)
def test_keywords_that_are_no_list_become_one(written):
    namespace = ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    before = sidecar(written.replace("Description", "Description" + namespace, 1))
    after = merged(before, "dog")
    mine = ["mine"] if "mine" in written else []
    assert read(after, SUBJECT) == [*mine, "dog"]
    assert read(merged(after), SUBJECT) == mine
    assert (b"a:b='1'" in after) == ("a:b" in written)


def test_other_prefixes_than_the_usual_ones():
    before = (
        b"<R:RDF xmlns:R='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        b"<R:Description R:about='' xmlns:k='http://purl.org/dc/elements/1.1/'>"
        b"<k:subject><R:Bag><R:li>mine</R:li></R:Bag></k:subject></R:Description></R:RDF>"
    )
    after = merged(before, "animal|dog")
    assert read(after, SUBJECT) == ["mine", "animal", "dog"]
    assert b"<R:li>dog</R:li>" in after
    assert merged(after) == before
    default = before.replace(b"R:about=''", b"").replace(b"R:", b"").replace(b":R=", b"=")
    after = merged(default, "dog")
    assert read(after, SUBJECT) == ["mine", "dog"]
    assert merged(after) == default


def test_an_rdf_without_anything_in_it():
    before = b"<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>"
    after = merged(before, "dog")
    assert read(after, SUBJECT) == ["dog"]
    assert merged(after, "dog") == after


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_stays_utf16(encoding):
    before = ("\ufeff" + LIGHTROOM.decode()).encode(encoding)
    after = merged(before, "hünd")
    assert read(after.decode(encoding).removeprefix("\ufeff").encode(), SUBJECT)[-1] == "hünd"
    assert merged(after) == before


def test_the_subject_of_the_packet_is_repeated():
    after = merged(DIGIKAM, "animal|dog")
    abouts = {each.get(f"{RDF}about") for each in ET.fromstring(after).iter(f"{RDF}Description")}
    assert abouts == {"uuid:faf5bdd5-ba3d-11da-ad31-d33d75182f1b"}


def test_what_xml_cannot_hold_is_replaced():
    content = merged(EMPTY, "a\x00b", "c\ud800", "\x0c", "line\r\nbreak", "]]>")
    assert read(content, SUBJECT) == ["a\ufffdb", "c\ufffd", "\ufffd", "line\r\nbreak", "]]>"]
    assert merged(content, "a\x00b", "c\ud800", "\x0c", "line\r\nbreak", "]]>") == content


BOMB = b"""<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>"""
OUTSIDE = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b" ", "not well-formed XML .no element found"),
        (LIGHTROOM[:-30], "not well-formed XML"),
        (LIGHTROOM + b"more", "not well-formed XML"),
        (LIGHTROOM.replace(b"holiday", b"\xff"), "not well-formed XML"),
        (LIGHTROOM.replace(b"holiday", b"&nbsp;"), "not well-formed XML .undefined entity"),
        (BOMB + LIGHTROOM, "document type"),
        (OUTSIDE + LIGHTROOM.replace(b"holiday", b"&a;"), "document type"),
        (b"<!DOCTYPE x>" + LIGHTROOM, "document type"),
        (b"<html/>", "holds no rdf:RDF"),
        (b"\xff\xfe\x00", "not UTF-16 text"),
        (EMPTY.replace(b"UTF-8", b"latin-1"), "encoding 'latin-1', expected UTF-8"),
        (b"<a>" * 300 + b"</a>" * 300, "more than 256 elements deep"),
        (sidecar(subject(*["a"] * 100_001)), "more than 100,000 keywords"),
    ],
)
def test_what_is_not_xmp_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(content)
    file = ImageFile(tmp_path / "a.jpg", "a.jpg")
    with pytest.raises(ImageError, match=reason):
        XmpWriter(model="m").write(file, Tags("a.jpg", ("dog",), (0.9,)))
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["a.jpg.xmp"]


def test_text_that_looks_like_the_end_of_a_tag():
    """As other programs may write it: `>` needs no reference, and a tag may end with a space."""
    before = sidecar(subject("holiday"))
    after = merged(before, 'a="b"/>')
    rewritten = after.replace(b'<rdf:li>a="b"/&gt;', b'<rdf:li >a="b"/>')
    assert rewritten.count(b'<rdf:li >a="b"/>') == 2
    assert read(merged(rewritten, "dog"), SUBJECT) == ["holiday", "dog"]
    assert merged(rewritten) == before


def test_a_property_in_an_unknown_form_is_refused():
    resource = "<dc:subject rdf:parseType='Resource'><dc:a>b</dc:a></dc:subject>"
    before = sidecar(subject().replace("<dc:subject><rdf:Bag></rdf:Bag></dc:subject>", resource))
    with pytest.raises(ImageError, match="subject is not a plain list"):
        merged(before, "dog")


def test_a_huge_sidecar_is_refused_unread(tmp_path):
    path = tmp_path / "a.jpg.xmp"
    with path.open("wb") as file:
        file.truncate(MAXIMUM_BYTES + 1)
    with pytest.raises(ImageError, match=r"its \.xmp is larger than 16 MiB"):
        XmpWriter(model="m").write(ImageFile(tmp_path / "a.jpg", "a.jpg"), Tags("a.jpg", (), ()))


@pytest.mark.slow
def test_long_texts_and_many_keywords_take_time_in_proportion():
    text = "x" * 4_000_000
    many = subject(*(f"k{number}" for number in range(10_000)))
    before = sidecar(subject(text), many)
    after = merged(before, "dog", "animal|cat")
    assert len(read(after, SUBJECT)) == 10_004
    assert len(read(after, LR)) == 10_003
    assert merged(merged(after, "sea|deep")) == before


STARTS_OF_USERS = [
    *SIDECARS.values(),
    sidecar(NUMBERED),
    sidecar(subject()),
    sidecar(subject("dog")),
    described("Dog,mine", digikam="Living/Dog"),
    described(lr="cat"),
]


def doubled(entries: list[str]) -> int:
    return len(entries) - len({keywords.key(each) for each in entries})


def edited(draw, content: bytes) -> bytes:
    """As programs leave a sidecar: with an entry less or one more in a list."""
    if b"<twl:" not in content:
        return content
    head, middle, tail = content.partition(b"<twl:")
    entries = list(re.finditer(rb"\s*<rdf:li>([^<]*)</rdf:li>", head))
    if not entries:
        return content
    entry = draw(st.sampled_from(entries))
    change = draw(st.sampled_from([b"", b"<rdf:li>mine</rdf:li>" + entry[0], entry[0]]))
    after: bytes = head[: entry.start()] + change + head[entry.end() :] + middle + tail
    return after


@settings(deadline=None, max_examples=200)
@given(
    before=st.sampled_from(STARTS_OF_USERS),
    runs=st.lists(st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=4), max_size=4),
    copies=st.lists(st.text(max_size=4), max_size=3),
)
def test_untagging_gives_back_the_users_file_byte_for_byte(before, runs, copies):
    def elsewhere():
        return dict(zip(KEYS, [copies, [], copies[1:]], strict=True))

    content, new = before, None
    for labels in runs:
        content = merge(content, labels, model="m", elsewhere=elsewhere) or b""
        again = merge(new or EMPTY, labels, model="m", elsewhere=elsewhere, began=new is None)
        new = again
    assert untagged(content) == before
    assert new is None or untagged(new) is None
    assert untagged(before) == before


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_keyword_of_the_users_is_lost_and_none_that_was_deleted_comes_back(data):
    """Between the runs somebody adds and deletes entries."""
    content: bytes | None = data.draw(st.sampled_from([*STARTS_OF_USERS, EMPTY]))
    for _ in range(data.draw(st.integers(1, 5))):
        assert content is not None
        labels = data.draw(st.lists(WORDS, max_size=4, unique=True))
        content = merge(content, labels, model="m")
        if content is None:
            return
        assert merge(content, labels, model="m") == content
        after = edited(data.draw, content)
        gone = set(read(content, RECORD)) - set(read(after, SUBJECT))
        mine = Counter(read(after, SUBJECT)) - Counter(read(content, SUBJECT))
        content = merge(after, [*labels, "more"], model="m")
        assert content is not None
        for entries, now in zip(lists(after), lists(content), strict=True):
            assert doubled(now) <= doubled(entries)
        assert not mine - Counter(read(content, SUBJECT))
        kept = {keywords.key(each) for each in read(after, SUBJECT)}
        added = {keywords.key(each) for each in read(content, RECORD)}
        for word in map(keywords.key, gone):
            assert word in kept or word not in added


KEYWORDS = st.lists(WORDS, max_size=4, unique=True)
STARTS = st.sampled_from([EMPTY, *SIDECARS.values()])


@settings(deadline=None, max_examples=100)
@given(before=STARTS, labels=st.lists(st.text(max_size=8), max_size=4), model=st.text(max_size=5))
def test_written_twice_is_written_once(before, labels, model):
    once = merged(before, *labels, model="m" + model)
    assert merged(once, *labels, model="m" + model) == once


@settings(deadline=None, max_examples=100)
@given(before=STARTS, runs=st.lists(st.tuples(KEYWORDS, KEYWORDS), min_size=1, max_size=5))
def test_the_users_keywords_survive_any_sequence_of_runs(before, runs):
    """Between the runs the user adds keywords, at the end of the list that is there."""
    content = before
    users = read(before, SUBJECT)
    for number, (labels, additions) in enumerate(runs):
        content = merged(content, *labels, model=f"m{number}")
        there = read(content, SUBJECT)
        assert there[: len(users)] == users or sorted(users) == sorted(
            word for word in there if word in users
        )
        assert set(users) <= set(there)
        assert {level for label in labels for level in label.split("|")} <= set(there)
        for word in additions:
            if word not in there and b"</rdf:li>\n    </rdf:Bag>\n   </dc:subject>" in content:
                end = b"</rdf:li>\n    </rdf:Bag>\n   </dc:subject>"
                addition = b"</rdf:li><rdf:li>" + word.encode() + end
                content = content.replace(end, addition, 1)
                users.append(word)
    assert sorted(read(merged(content), SUBJECT)) == sorted(users)


PIECES = [re.findall(rb"<[^>]*>|[^<]+", content) for content in SIDECARS.values()]


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_damaged_sidecar_is_refused_or_merged_but_never_more_damaged(data):
    pieces = list(data.draw(st.sampled_from(PIECES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "move"]))
        piece = pieces.pop(place) if change != "double" else pieces[place]
        if change != "drop":
            pieces.insert(data.draw(st.integers(0, len(pieces))), piece)
    damaged = b"".join(pieces)
    try:
        after = merged(damaged, "dog", "animal|cat")
    except ImageError:
        return
    assert {"dog", "animal", "cat"} <= set(read(after, SUBJECT))
    assert merged(after, "dog", "animal|cat") == after
    missing = Counter(read(damaged, SUBJECT)) - Counter(read(merged(after), SUBJECT))
    assert not missing


@pytest.mark.parametrize(
    "inside",
    [
        "<rdf:li>Ada</rdf:li><rdf:Bag></rdf:Bag>",
        "<rdf:Bag></rdf:Bag><rdf:li>Ada</rdf:li>",
        "<rdf:Bag><rdf:li>Ada</rdf:li></rdf:Bag><rdf:Bag><rdf:li>Grace</rdf:li></rdf:Bag>",
    ],
)
def test_keywords_beside_a_list_are_left_alone(inside):
    content = sidecar(subject("kept").replace("<rdf:Bag><rdf:li>kept</rdf:li></rdf:Bag>", inside))
    with pytest.raises(ImageError, match="subject is not a plain list"):
        merged(content, "dog")


# --- files ---------------------------------------------------------------------------------------


def write(writer: XmpWriter, path: Path, *labels: str) -> None:
    writer.write(ImageFile(path, path.name), Tags(path.name, labels, (0.5,) * len(labels)))


def test_both_ways_of_naming(tmp_path):
    write(XmpWriter(model="m"), tmp_path / "a.jpg", "dog")
    write(XmpWriter(model="m", names="stem"), tmp_path / "a.jpg", "dog")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jpg.xmp", "a.xmp"]


def test_no_tags_make_no_sidecar_and_change_none(tmp_path):
    write(XmpWriter(model="m"), tmp_path / "a.jpg")
    (tmp_path / "b.jpg.xmp").write_bytes(LIGHTROOM)
    before = (tmp_path / "b.jpg.xmp").stat()
    write(XmpWriter(model="m"), tmp_path / "b.jpg")
    assert [each.name for each in tmp_path.iterdir()] == ["b.jpg.xmp"]
    assert (tmp_path / "b.jpg.xmp").stat() == before


def test_an_empty_sidecar_is_filled(tmp_path):
    (tmp_path / "a.jpg.xmp").touch()
    write(XmpWriter(model="m"), tmp_path / "a.jpg", "dog")
    assert read((tmp_path / "a.jpg.xmp").read_bytes(), SUBJECT) == ["dog"]


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\n.jpg")
    write(XmpWriter(model="m"), path, "dog")
    assert [os.fsencode(each.name) for each in tmp_path.iterdir()] == [b"caf\xe9\n.jpg.xmp"]


def test_members_of_a_tar_have_no_sidecar(tmp_path):
    file = ImageFile(tmp_path / "s.tar", "s.tar/../../a.jpg", byte_range=ByteRange(512, 10, 0))
    with pytest.raises(ImageError, match="is in a tar file"):
        XmpWriter(model="m").write(file, Tags(file.name, ("dog",), (0.9,)))
    assert list(tmp_path.iterdir()) == []


# --- read back with exiftool ---------------------------------------------------------------------

FIELDS = ["XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList"]


def exiftool(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["exiftool", "-charset", "utf8", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "Warning" in line]
    assert all("[minor]" in line for line in warnings), warnings  # of the foreign sidecars' forms
    return done.stdout


@needs_exiftool
def test_exiftool_reads_all_lists(tmp_path):
    images = []
    for number, content in enumerate([None, *SIDECARS.values()]):
        images.append(tmp_path / f"{number}.jpg")
        if content is not None:
            (tmp_path / f"{number}.jpg.xmp").write_bytes(content)
        write(XmpWriter(model="m1"), images[-1], "animal|dog", "a & <b>", "日本")
    text = exiftool(
        "-json", "-a", "-G1", *(f"-{field}" for field in FIELDS), "-XMP-twl:all", tmp_path
    )
    rows = sorted(json.loads(text), key=lambda row: row["SourceFile"])
    assert len(rows) == len(images)
    for row in rows:
        assert row["XMP-twl:Model"] == "m1"
        assert row["XMP-dc:Subject"][-4:] == ["animal", "dog", "a & <b>", "日本"]
        assert row["XMP-lr:HierarchicalSubject"][-3:] == ["animal|dog", "a & <b>", "日本"]
        assert row["XMP-digiKam:TagsList"][-3:] == ["animal/dog", "a & <b>", "日本"]
    assert rows[1]["XMP-dc:Subject"][:3] == ["holiday", "places", "beach"]


@needs_exiftool
def test_exiftool_reads_everything_else_as_before(tmp_path):
    for name, content in SIDECARS.items():
        (tmp_path / f"{name}.xmp").write_bytes(content)
    own = ["--System:all", "--XMP-dc:Subject", "--XMP-lr:all", "--XMP-digiKam:TagsList"]
    before = exiftool("-a", "-u", "-G1", "-s", "-ee", *own, "--XMP-twl:all", tmp_path)
    for name in SIDECARS:
        write(XmpWriter(model="m1", names="stem"), tmp_path / f"{name}.jpg", "animal|dog")
    assert exiftool("-a", "-u", "-G1", "-s", "-ee", *own, "--XMP-twl:all", tmp_path) == before


@needs_exiftool
@pytest.mark.parametrize("before", SIDECARS.values(), ids=SIDECARS)
def test_twl_knows_its_tags_after_exiftool_has_rewritten_the_sidecar(tmp_path, before):
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(merged(before, "animal|dog"))
    exiftool("-q", "-overwrite_original", "-XMP-dc:Subject+=mine", path)
    rewritten = path.read_bytes()
    assert TWL.encode() in rewritten
    after = merged(rewritten, "cat", model="m2")
    kept = read(before, SUBJECT)
    assert read(after, SUBJECT) == [*kept, "mine", "cat"]
    assert read(after, SUBJECT) == read(merged(after, "cat", model="m2"), SUBJECT)

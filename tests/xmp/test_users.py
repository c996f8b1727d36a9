"""Whose keyword is whose: what twl wrote, and what photo programs make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tagging.outputs.test_xmp import described
from twlcli.tagging.outputs.xmp.merging import EMPTY, merge
from twlcli.xmp.keywords import DIGIKAM, LIGHTROOM, LISTS, SUBJECT, path_key
from twlcli.xmp.place import Place, place_of
from twlcli.xmp.users import ancestry, parted

WORDS = st.sampled_from(["dog", "Dog", "cat", "sea", "animal"])
PATHS = st.lists(st.sampled_from(["animal|dog", "animal|cat", "sea", "Animal|Dog"]), max_size=3)


def users(*packets: bytes, **options) -> list[str]:
    return [
        "|".join(path) for path in parted([place_of([each]) for each in packets], **options).users
    ]


def own(*packets: bytes) -> list[str]:
    return ["|".join(path) for path in parted([place_of([each]) for each in packets]).own]


def tagged(content: bytes, *labels: str) -> bytes:
    merged = merge(content, labels, model="m")
    assert merged is not None
    return merged


@pytest.mark.parametrize(
    ("packet", "read"),
    [
        (described("dog,sea"), ["dog", "sea"]),
        (described("dog, Dog ,DOG"), ["dog"]),
        (described("animal,dog,sea", lr="animal|dog"), ["sea", "animal|dog"]),
        (described("Dog", digikam="animal/dog"), ["animal|dog"]),
        (described(lr="animal|dog", digikam="animal/dog"), ["animal|dog"]),
        (described("animal|dog"), ["animal|dog"]),
        (described("AC/DC", digikam="music/AC\\DC"), ["music|AC/DC"]),
        (described(digikam="a|b/c"), ["a/b|c"]),
        (described(lr="| animal || dog |"), ["animal|dog"]),
        (described("darktable,format,jpg,sea", lr="darktable|format|jpg"), ["sea"]),
        (described("dog", lr="dog"), ["dog"]),
    ],
)
def test_keywords_with_their_levels(packet, read):
    assert users(packet) == read


def test_the_first_place_with_keywords_hides_the_others():
    assert users(EMPTY, described("dog"), described("cat")) == ["dog"]
    assert users(tagged(EMPTY, "sea"), described("cat")) == ["cat"]
    assert users(EMPTY, EMPTY) == []


def test_what_twl_added_is_known():
    for before in (
        EMPTY,
        described("holiday"),
        described("a", lr="x|a"),
        described("b", digikam="b"),
    ):
        after = tagged(before, "animal|dog", "sea")
        assert users(after) == users(before)
        assert own(after) == ["sea", "animal|dog"]


@given(words=st.lists(WORDS, max_size=3), paths=PATHS, levels=PATHS, labels=PATHS)
def test_tagging_changes_nothing_that_is_learned(words, paths, levels, labels):
    """Given that programs write every level among the words too, as all known ones do."""
    words += [level for path in (*paths, *levels) for level in path.split("|")]
    digikam = ",".join(path.replace("|", "/") for path in paths)
    before = described(",".join(words), lr=",".join(levels), digikam=digikam)
    after = merge(before, labels, model="m") or EMPTY
    assert users(after) == users(before)


def copied(content: bytes, *, lightroom: bool = True) -> bytes:
    """What a program makes of a packet that fills every list and forgets what twl remembers."""
    place = place_of([content])
    lists = {each: ",".join(place.lists[each]) for each in LISTS}
    lr = lists[DIGIKAM].replace("/", "|") if lightroom else ""
    return described(lists[SUBJECT], lr=lr, digikam=lists[DIGIKAM])


def test_copies_of_what_twl_added_are_known_too():
    """A program that reads the sidecar writes its keywords into the photograph, and the reverse."""
    sidecar = tagged(EMPTY, "animal|dog", "sea")
    assert users(sidecar, copied(sidecar)) == []
    assert users(copied(sidecar), sidecar) == []
    # The words alone, as IPTC has them.
    words = place_of((), place_of([sidecar]).lists[SUBJECT])
    assert not parted([place_of([sidecar]), words]).users
    both = tagged(described("holiday"), "sea")
    assert users(both, copied(both)) == ["holiday"]


def test_a_list_that_another_program_filled_from_that_of_twl_holds_no_more():
    content = tagged(EMPTY, "sea")
    assert b"hierarchicalSubject" not in content
    list_of_lr = described(lr="sea,beach").partition(b"<rdf:Description")
    description = (list_of_lr[1] + list_of_lr[2]).partition(b" </rdf:RDF>")[0]
    filled = content.replace(b" </rdf:RDF>", description + b" </rdf:RDF>")
    assert users(filled) == ["beach"]


def test_people_are_keywords_where_asked_for():
    entry = (
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><e:PersonInImage>'
        "<rdf:Bag><rdf:li>Ann|Lee</rdf:li></rdf:Bag></e:PersonInImage></rdf:Description>"
    )
    packet = described("sea").replace(b" </rdf:RDF>", entry.encode() + b" </rdf:RDF>")
    assert users(packet) == ["sea"]
    assert users(packet, people=True) == ["sea", "Ann/Lee"]


def test_what_no_person_writes_is_left_out_and_counted():
    lists = dict.fromkeys(LISTS, ()) | {
        SUBJECT: ["dog", "x" * 1001, *map(str, range(3000))],
        LIGHTROOM: ["|".join("ab" * 1000), "a|b"],
    }
    found = parted([Place(lists, dict.fromkeys(LISTS, ()))])
    assert len(found.users) == 2000  # of the first 2000 one is too long; and a|b
    assert found.left_out == 1002 + 1 + 1


def test_levels_above():
    assert list(ancestry(("a", "b", "c"))) == [("a",), ("a", "b"), ("a", "b", "c")]
    assert path_key(("A ", "b")) == ("a", "b")

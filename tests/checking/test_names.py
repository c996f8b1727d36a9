import unicodedata

import pytest

from twlcli.checking.names import alike_names


@pytest.mark.parametrize(
    ("names", "differ_by"),
    [
        (("Dog", "dog"), "upper and lower case"),
        (("STRASSE", "straße"), "upper and lower case"),
        (("fire truck", "fire_truck", "fire-truck", "FireTruck"), "blanks, - or _"),
        (("fire  truck", "fire truck"), "blanks, - or _"),
        (tuple(unicodedata.normalize(form, "café") for form in ("NFC", "NFD")), "Unicode form"),
        (("ﬁsh", "fish"), "Unicode form"),
        (("сat", "cat"), "letters that look alike"),  # the first begins with a Cyrillic es
        (("b0at", "boat"), "letters that look alike"),
        (("dog", "dogs"), "a plural s"),
    ],
)
def test_alike(names, differ_by):
    (found,) = alike_names(("zebra", *names, "horse"))
    assert (found.names, found.differ_by) == (names, differ_by)


def test_different_names_are_not_alike():
    assert alike_names(["glas", "glass", "bus", "bu", "-", "_", "x1", "x2"]) == []


def test_a_name_is_in_one_group():
    (found,) = alike_names(["dogs", "Dog", "cat", "dog", "d-og"])
    assert set(found.names) == {"dogs", "Dog", "dog", "d-og"}
    assert found.differ_by == "upper and lower case; blanks, - or _; a plural s"

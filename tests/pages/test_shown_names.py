from hypothesis import given
from hypothesis import strategies as st

from twlcli.pages.shown_names import LONGEST, shown


@given(st.text(max_size=400))
def test_what_is_shown_can_be_read(name):
    text = shown(name)
    assert text.isprintable()
    if name.isprintable() and len(name) <= LONGEST:
        assert text == name


def test_long_names_keep_both_ends():
    text = shown("begin" + "x" * 10_000 + "end.jpg")
    assert len(text) == LONGEST
    assert text.startswith("begin") and text.endswith("end.jpg") and "…" in text


def test_bytes_that_are_no_text_are_escaped():
    assert shown("caf\udce9.jpg") == "caf\\udce9.jpg"

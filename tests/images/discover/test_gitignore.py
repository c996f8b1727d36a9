import pathspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.images.discover.gitignore import Patterns


def test_without_patterns_everything_is_taken():
    patterns = Patterns()
    assert patterns.are_empty
    assert patterns.takes("a/b.jpg")
    assert patterns.enters("a/")


def test_include_names_files_or_folders():
    patterns = Patterns(include=["beach/", "*.png"])
    names = ("beach/a.jpg", "a.jpg", "sub/beach/x/b.jpg", "sub/c.png", "c.PNG")
    taken = [name for name in names if patterns.takes(name)]
    assert taken == ["beach/a.jpg", "sub/beach/x/b.jpg", "sub/c.png"]


def test_an_image_must_be_included_and_not_excluded():
    patterns = Patterns(include=["beach/"], exclude=["*.png", "!good.png", "old/", "!old/x.jpg"])
    assert patterns.takes("beach/a.jpg")
    assert patterns.takes("beach/good.png")
    assert not patterns.takes("beach/a.png")
    assert not patterns.takes("a.jpg")
    assert not patterns.takes("beach/old/x.jpg")  # nothing comes back out of an excluded folder
    assert not patterns.enters("beach/old/")
    assert patterns.enters("beach/")


@pytest.mark.parametrize(
    "name", ["/data/raw/a.jpg", "../raw/a.jpg", "raw/a.jpg", "x\ny/raw/\n.jpg"]
)
def test_names_of_every_kind_are_matched(name):
    assert not Patterns(exclude=["raw/"]).takes(name)
    assert Patterns(exclude=["raws/"]).takes(name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 12 + "*b", "a" * 120),
        ("**/" * 12 + "b", "a/" * 120 + "c"),
        ("x" + "**/" * 3 + "b", "x" + "a/" * 3 + "c"),
    ],
)
def test_stars_take_little_time(pattern, name):
    patterns = Patterns(exclude=[pattern])
    assert patterns.takes(name)  # for ages, if every way to share out the name were tried
    assert not patterns.takes(f"{name[:-1]}b")


@pytest.mark.parametrize("pattern", ["!", "", "/", "!/", "a[b", "[z-a]", "a\\", "[[:alpha:]]"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(TwlError, match=r"exclude '.*gitignore"):
        Patterns(exclude=["fine", pattern])
    with pytest.raises(TwlError, match="include"):
        Patterns(include=[pattern])


NAME = st.text("ab*.", min_size=1, max_size=4).filter(lambda name: name[0] != ".")
NAMES = st.lists(NAME, min_size=1, max_size=4).map("/".join)
PARTS = st.sampled_from(["a", "b", "*", "?", "**", "a*", "*b", "[ab]", "[!a]", "a.b", "*.a", "b?"])


@st.composite
def gitignore_patterns(draw):
    parts = draw(st.lists(PARTS, min_size=1, max_size=4))
    before = draw(st.sampled_from(["", "/"]))
    # Of `a/**/` pathspec takes files in a for folders, which git does not.
    after = "" if parts[-1] == "**" else draw(st.sampled_from(["", "/"]))
    return before + "/".join(parts) + after


@settings(deadline=None, max_examples=400)
@given(pattern=gitignore_patterns(), names=st.lists(NAMES, max_size=4))
def test_a_pattern_matches_as_it_does_in_pathspec(pattern, names):
    """Several patterns that take back from each other are another matter: git differs there."""
    reference = pathspec.GitIgnoreSpec.from_lines([pattern])
    ours = Patterns(exclude=[pattern])
    for name in names:
        parts = name.split("/")
        folders = ["/".join(parts[: count + 1]) + "/" for count in range(len(parts) - 1)]
        matched = any(map(reference.match_file, [*folders, name]))
        assert ours.takes(name) != matched, name


def test_what_is_taken_back_is_taken_back_as_in_git():
    """As `git check-ignore` has it, where pathspec says otherwise."""
    assert not Patterns(exclude=["a", "!/a"]).takes("a/a/b")
    assert Patterns(exclude=["a", "!/a"]).takes("a/b")
    assert Patterns(exclude=["!a", "a/**/"]).takes("a/a")

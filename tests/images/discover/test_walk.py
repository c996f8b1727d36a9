import glob
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.images.discover.test_scan import fill, names
from twlcli.images.discover.gitignore import Patterns
from twlcli.images.image_file import is_image

TREE = (
    *("a.jpg", "b.png", "notes.txt", ".hidden.jpg", "photo[1].jpg", "caf\udce9.jpg"),
    *("x/a.jpg", "x/y/a.jpg", "x/y/z/b.jpg", "x/.secret/c.jpg", "x/line\nbreak/d.jpg"),
    *("y/x/a.jpg", "y/b1.jpg", "y/b2.jpg", "y/b3.PNG", "y/data.txt"),
)
PARTS = st.sampled_from(
    ["**", "*", "x", "y", "?", "[xy]", "*.jpg", "a.*", "b[12].jpg", ".*", "*a*"]
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("tree"), *TREE)


def globbed(pattern: str) -> set[str]:
    """What Python's glob matches; below a folder that it matches, everything that is not hidden."""
    found = set()
    for match in glob.glob(pattern, recursive=True):  # noqa: PTH207  pathlib's differ
        path = Path(match)
        if path.is_file() and is_image(path.name):
            found.add(path.as_posix())
        for below in path.rglob("*") if path.is_dir() else ():
            visible = not any(part.startswith(".") for part in below.relative_to(path).parts)
            if visible and below.is_file() and is_image(below.name):
                found.add(below.as_posix())
    return found


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join))
@settings(max_examples=200, deadline=None)
def test_globs_match_what_pythons_do(tree, pattern):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        expected = globbed(pattern)
        if expected and any(sign in pattern for sign in "*?["):
            found = names(pattern)
            assert len(found) == len(set(found))
            assert set(found) == expected


def test_a_glob_goes_in_the_order_of_a_folder(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names("**/*") == names(".")
    assert names(f"{tree}/y/*.jpg") == [f"{tree}/y/b1.jpg", f"{tree}/y/b2.jpg"]
    assert names("./x/../y/b?.jpg") == ["x/../y/b1.jpg", "x/../y/b2.jpg"]


def test_a_glob_matches_hidden_names_where_asked(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names(".*") == [".hidden.jpg"]
    assert ".hidden.jpg" not in names("*")
    assert "x/.secret/c.jpg" in names("**/*.jpg", hidden=True)


def test_a_file_is_no_glob_if_it_is_there(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert names("photo[1].jpg") == ["photo[1].jpg"]
    assert names("caf*") == ["caf\udce9.jpg"]


def test_a_glob_ends_on_links_in_circles(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert names("**/*.jpg") == ["a.jpg", "sub/b.jpg"]
    assert names("sub/*/*.jpg") == ["sub/up/a.jpg"]


def test_a_glob_enters_no_folder_in_vain(tree, monkeypatch):
    real = os.scandir
    entered = []

    def scandir(folder):
        entered.append(Path(folder).relative_to(tree).as_posix())
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert names(f"{tree}/*/b?.jpg")[0].endswith("y/b1.jpg")
    assert set(entered) == {".", "x", "y"}


WRITTEN = st.sampled_from(
    [
        "x",
        "y",
        "z",
        "*",
        "**",
        "a.*",
        "*.jpg",
        "b?.jpg",
        "[!a]*",
        "b[1-2].*",
        "[]p]*",
        "\\b*",
        "**g",
    ]
)


@st.composite
def ignored(draw):
    """A line of a .gitignore."""
    first, last = draw(st.sampled_from(["", "!", "/", "!/"])), draw(st.sampled_from(["", "/"]))
    return first + "/".join(draw(st.lists(WRITTEN, min_size=1, max_size=3))) + last


@pytest.fixture(scope="module")
def listed_by_git(tree, tmp_path_factory):
    """What git lists in the tree, with exclude patterns."""
    git = str(tmp_path_factory.mktemp("repository") / "git")
    environment = {**os.environ, "GIT_DIR": git, "GIT_WORK_TREE": str(tree)}
    try:
        subprocess.run(["git", "init", "-q"], env=environment, check=True)
    except FileNotFoundError:
        pytest.skip("no git here")

    def listed(patterns: list[str]) -> set[str]:
        command = ["git", "ls-files", "--others", "-z", *(f"--exclude={each}" for each in patterns)]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=True)
        kept = map(os.fsdecode, done.stdout.split(b"\0"))
        return {name for name in kept if is_image(name) and "/." not in f"/{name}"}

    return listed


@given(st.lists(ignored(), max_size=4))
@example(["*", "!*/", "!*.jpg"])
@example(["x/", "!x/a.jpg"])
@example(["x/*", "!x/y/"])
@example(["*", "!x/", "!*.jpg"])
@example(["photo\\[1\\].jpg", "caf*", "x/**/d.jpg"])
@settings(max_examples=150, deadline=None)
def test_excluded_is_what_git_ignores(tree, listed_by_git, patterns):
    expected = listed_by_git(patterns)
    taken = Patterns(exclude=patterns)
    assert {
        name for name in TREE if is_image(name) and "/." not in f"/{name}" and taken.takes(name)
    } == expected
    if expected:
        assert set(names(tree, exclude=patterns)) == expected

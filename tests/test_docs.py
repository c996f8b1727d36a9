"""The documentation: its blocks run, its links lead somewhere, its lists are complete."""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import twlcli
from tests.documents import ROOT, RUN, Reader, blocks_of
from tests.test_architecture import FLOORS
from tools import reference
from twlcli.model.bundled import model_path

DOCS = sorted((ROOT / "docs").glob("*.md"))
GENERATED = [ROOT / "docs" / name for name in ("cli.md", "recipe.md")]
PAGES = [ROOT / "README.md", *(page for page in DOCS if page not in GENERATED)]
ALL_TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *DOCS,
]
TESTED = [page for page in PAGES if any(block.language in RUN for block in blocks_of(page))]


def name_of(page: Path) -> str:
    return page.name


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """What the pages take for granted: a sample set, a run, a model and a folder of images."""
    folder: Path = tmp_path_factory.mktemp("world")
    reader = Reader(folder)
    for command in (
        "twl data sample shapes --images 400",
        "twl train shapes --recipe shapes-small --epochs 1 --out runs/shapes",
    ):
        subprocess.run(
            command.split(), cwd=folder, env=reader.environment, check=True, capture_output=True
        )
    shutil.copy(model_path("shapes-small"), folder / "shapes.onnx")
    for year, first in ((1998, 0), (2003, 6)):
        (folder / "photos" / str(year)).mkdir(parents=True)
        for number in range(first, first + 6):
            image = f"{number:05}.jpg"
            shutil.copy(folder / "shapes/images" / image, folder / "photos" / str(year) / image)
    return folder


@pytest.fixture
def reader(page, world, tmp_path, monkeypatch) -> Reader:
    folder = tmp_path / "reader"
    if "<!-- starts in an empty folder -->" in page.read_text(encoding="utf-8"):
        folder.mkdir()
    else:
        shutil.copytree(world, folder)
        recipe = folder / "runs/shapes/recipe.toml"
        recipe.write_text(recipe.read_text().replace(str(world), str(folder)))
    monkeypatch.chdir(folder)
    return Reader(folder)


on_bash = pytest.mark.skipif(sys.platform == "win32", reason="the pages are typed into bash")


@on_bash
@pytest.mark.docs
@pytest.mark.parametrize("page", TESTED, ids=name_of)
def test_blocks_run(page, reader):
    for block in blocks_of(page):
        if not block.by_hand and not block.is_slow:
            reader.run(block)


@on_bash
@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in TESTED if any(b.is_slow for b in blocks_of(page))], ids=name_of
)
def test_all_blocks_run_in_their_order(page, reader):
    for block in blocks_of(page):
        if not block.by_hand:
            reader.run(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page):
    for block in blocks_of(page):
        assert block.language, f"{block}: a block without a language"
        if block.language not in RUN and block.title is None:
            assert "twl " not in block.text, f"{block}: a command that nobody runs"


@pytest.mark.parametrize("page", ALL_TEXTS, ids=name_of)
def test_every_option_exists(page):
    known = reference.option_names() | FOREIGN_OPTIONS
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":  # releases tell of their own options
        text = text.split("\n## ")[1]
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)):
        assert option in known, f"{page.name} speaks of {option}"


FOREIGN_OPTIONS = {
    "--requeue",
    "--shm-size",
    "--signal",
    "--standalone",  # torchrun
    "--nproc-per-node",
    "--nnodes",
    "--max-restarts",
    "--rdzv-backend",
    "--rdzv-endpoint",
    "--rdzv-id",
    "--nodes",  # Slurm
    "--ntasks-per-node",
    "--gpus-per-node",
    "--only",  # benchmarks/scale.py
    "--rows",
    "--depth",  # git
    *("--batch", "--networks", "--rounds", "--seconds", "--steps", "--tables"),  # of benchmarks
}


@pytest.mark.parametrize("page", ALL_TEXTS, ids=name_of)
def test_relative_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page)
def test_generated_pages_are_up_to_date(page):
    written = (ROOT / page).read_text(encoding="utf-8")
    assert reference.PAGES[page](written) == written, "run: python -m tools.reference"


def documented(page: str) -> list[str]:
    """The names that a page of the API has mkdocstrings describe."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("api.md", "twlcli"),
        ("api-losses.md", "twlcli.losses"),
        ("api-metrics.md", "twlcli.metrics"),
        ("api-outputs.md", "twlcli.outputs"),
        ("api-errors.md", "twlcli.errors"),
    ],
)
def test_api_pages_have_every_public_name_and_no_other(page, module):
    public = sys.modules[module] if module == "twlcli" else getattr(twlcli, module.split(".")[1])
    names = getattr(public, "__all__", None) or [
        name for name, value in vars(public).items() if getattr(value, "__module__", "") == module
    ]
    listed = [name.removeprefix(f"{module}.") for name in documented(page)]
    apart = {name for name in names if inspect.ismodule(getattr(public, name))}
    if module == "twlcli.errors":
        apart |= {
            "check_extra",
            "did_you_mean",
            "needs_extra",
            "reason_of",
        }  # help for those who raise them
    assert sorted(listed) == sorted(set(names) - apart)
    for name in listed:
        value = getattr(public, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


def test_what_public_functions_return_is_documented():
    listed = {name.rpartition(".")[2] for name in documented("api-results.md")}
    returned = {
        str(inspect.signature(value).return_annotation)
        for value in (getattr(twlcli, name) for name in twlcli.__all__)
        if inspect.isfunction(value)
    }
    assert returned - set(twlcli.__all__) <= listed


def test_rooms_lie_as_the_architecture_says():
    drawn = next(block.text for block in blocks_of(ROOT / "docs/architecture.md"))
    rooms = [sorted(line.split()) for line in drawn.splitlines()]
    assert rooms == [sorted(floor) for floor in FLOORS if floor != ["__main__"]]


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS:
        assert f": {page.name}\n" in navigation, f"{page.name} is not in mkdocs.yml"

"""The house rules that can be checked: who imports whom, what starts without torch, how large."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import twlcli
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model

PACKAGE = Path(twlcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From top to bottom: a room may import those below it, and modules of its own.
FLOORS = [
    ["__main__"],
    ["cli"],
    ["outputs", "paired", "cluster"],
    ["comparison", "exporting", "probing", "report", "tagging"],
    ["checking", "training", "metrics"],
    ["scoring", "shapes", "features"],
    ["inference"],
    ["runs"],
    ["annotations"],
    ["xmp"],
    ["images"],
    ["model"],
    ["recipe", "losses", "pages", "heads"],
    ["stores"],
    ["confined", "labels", "io", "parallel", "versions"],
    ["errors"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WITH_TORCH = {"comparison", "exporting", "probing", "training", "losses", "heads"}
TORCH_MODULES = {
    "model/backbones.py",
    "features/network.py",
    "model/checkpoint.py",
    "model/headed.py",
    "model/layers.py",
    "model/onnx_writer.py",
    "model/timm_networks.py",
    "model/torch.py",
    "model/weights.py",
    "runs/states.py",  # inside the functions that save and read the state of training
}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_run_downward(module):
    room = room_of(module)
    if room == "__init__":
        return
    for imported in imports_of(module):
        parts = imported.split(".")
        if parts[0] == "twlcli" and len(parts) > 1 and parts[1] in FLOOR_OF and parts[1] != room:
            assert FLOOR_OF[parts[1]] > FLOOR_OF[room], f"{room} imports {imported}"


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and those for type checkers count like any other."""
    dotted = {
        ".".join(("twlcli", *module.relative_to(PACKAGE).with_suffix("").parts))
        for module in MODULES
    }
    imports = {
        name: {
            each
            for each in imports_of(PACKAGE.parent / f"{name.replace('.', '/')}.py")
            if each in dotted
        }
        - {name}
        for name in dotted
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_torch_stays_in_its_rooms(module):
    room = room_of(module)
    imported = {name.split(".")[0] for name in imports_of(module)}
    if room not in WITH_TORCH and room != "cli" and name_of(module) not in TORCH_MODULES:
        assert not imported & {"torch", "torchvision", "onnx", "safetensors"}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_rich_stays_in_the_command_line(module):
    imported = {name.split(".")[0] for name in imports_of(module)}
    assert room_of(module) == "cli" or not imported & {"rich", "typer"}


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "PIL", "numpy", "pydantic", "jinja2"}


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['twl', '--help']\n"
        "from twlcli.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
    )
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize(
    "name",
    [
        "annotations.detect",
        "paired.page",
        "paired.run",
        "report.page",
        "tagging.run",
        "runs.run_folder",
    ],
)
def test_base_package_never_loads_torch(name):
    assert not loaded_by(f"import twlcli.{name}") & {"torch", "torchvision", "onnx", "safetensors"}


def test_recipes_load_neither_torch_nor_numpy():
    code = "import twlcli.recipe; twlcli.recipe.Recipe; twlcli.recipe.describe_in_text"
    assert loaded_by(code) & HEAVY == {"pydantic"}


def test_processes_that_decode_start_with_pillow_alone():
    loaded = loaded_by("import twlcli.images.sandbox_child")
    assert loaded & HEAVY == {"PIL"} and "typer" not in loaded


def test_one_photograph_is_tagged_without_what_draws_bars(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(picture(), "PNG"))
    model = write_model(tmp_path / "model.onnx")
    arguments = [str(each) for each in (tmp_path, "--model", model, "--out", tmp_path / "t.csv")]
    code = (
        f"import sys; sys.argv = ['twl', 'tag', *{arguments!r}]\n"
        "from twlcli.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as exit: assert exit.code == 0\n"
        "assert 'twlcli.cli.console' not in sys.modules\n"
    )
    assert not loaded_by(code) & {"PIL", "torch", "jinja2"}
    assert (tmp_path / "t.csv").exists()


def test_few_files_lead_from_the_command_to_the_rows(tmp_path):
    """What a reader opens to follow `twl tag`, apart from the processes that decode."""
    (tmp_path / "a.png").write_bytes(encode(picture(), "PNG"))
    model = write_model(tmp_path / "model.onnx")
    arguments = [str(each) for each in (tmp_path, "--model", model, "--out", tmp_path / "t.csv")]
    code = (
        "import sys, threading\n"
        "seen = set()\n"
        "def note(frame, event, argument):\n"
        "    is_function = frame.f_code.co_flags & 1  # not the body of a class or module\n"
        "    if event == 'call' and is_function and 'twlcli' in frame.f_code.co_filename:\n"
        "        seen.add(frame.f_code.co_filename)\n"
        f"sys.argv = ['twl', 'tag', *{arguments!r}]\n"
        "from twlcli.cli.app import main\n"
        "threading.setprofile(note); sys.setprofile(note)\n"
        "try: main()\n"
        "except SystemExit as exit: assert exit.code == 0\n"
        "sys.setprofile(None)\n"
        "print(*sorted(seen), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10 < len(done.stdout.splitlines()) <= 34, done.stdout

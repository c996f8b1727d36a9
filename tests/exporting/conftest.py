import pytest

from tests.exporting.drawn import small_run
from twlcli.exporting.onnx import Exported, export


@pytest.fixture(scope="session")
def small_export(tmp_path_factory, photographs) -> Exported:
    """The float32 model of `small_run`."""
    folder = tmp_path_factory.mktemp("exported")
    return export(small_run(folder / "run", photographs).folder, folder / "float32.onnx")

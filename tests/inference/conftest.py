import pytest


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, photographs):
    """A run with a checkpoint."""
    pytest.importorskip("torch")
    from tests.exporting.drawn import small_run

    return small_run(tmp_path_factory.mktemp("runs") / "run", photographs)

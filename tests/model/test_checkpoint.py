import torch

from tests.exporting.drawn import small_run
from twlcli.model.checkpoint import load_checkpoint


def test_loading_leaves_the_random_generator_as_it_was(tmp_path, photographs):
    run = small_run(tmp_path / "run", photographs)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_checkpoint(run.folder)
    assert torch.equal(torch.rand(3), expected)

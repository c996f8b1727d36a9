"""A loss of the user's own: checked, exact over micro-batches and ranks."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.training.drawn import CPU, batch, network
from twlcli.errors import ModelError, RecipeError
from twlcli.model.preprocessing import Preprocessing
from twlcli.recipe import Recipe
from twlcli.training.devices import Ranks
from twlcli.training.step import Stepper, loss_of

STEPS = 3
SHARES = [(0, 7), (7, 10)]
NAME = f"{__name__}:spread"


def spread(logits: Tensor, targets: Tensor, *, power: int = 2) -> Tensor:
    """Compares every image with the mean of the batch, so that the split of a batch matters."""
    assert logits.dtype == torch.float32
    known = targets >= 0
    present = (targets == 1).to(logits.dtype)
    far = (logits - logits.mean(0)).abs() ** power
    return (torch.sigmoid(-far) * present + far * (1 - present))[known].mean()


def per_image(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.mean(1)


def number(logits: Tensor, targets: Tensor) -> float:
    return 1.0


def constant(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.tensor(1.0)


def detached(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.detach().mean()


@torch.no_grad()
def without(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.mean()


def of_another(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.ones((), requires_grad=True) * logits.detach().mean()


def ends(logits: Tensor, targets: Tensor) -> Tensor:
    sys.exit(0)


def stepper(ranks: Ranks, *settings: str, name: str = NAME, allow_code: bool = True) -> Stepper:
    recipe = Recipe().with_settings(
        [
            *(f"loss.name={name}", "optimizer.learning_rate=0.5", "optimizer.clip=1"),
            *("schedule.batch_size=10", "train.precision=float32", *settings),
        ]
    )
    return Stepper(network(), recipe, Preprocessing(8, 8), ranks, allow_code=allow_code)


def trained(ranks: Ranks, rows: slice, *settings: str) -> tuple[list[float], dict[str, Tensor]]:
    made = stepper(ranks, *settings)
    losses = [made(batch(rows), step, STEPS).item() for step in range(STEPS)]
    return losses, made.network.state_dict()


def on_a_rank(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(minutes=5)
    )
    ranks = Ranks(CPU, rank, 2, 2, dist.group.WORLD)
    rows = slice(*SHARES[rank])
    results = [
        trained(ranks, rows),
        trained(ranks, rows, "schedule.micro_batch=2"),
        trained(ranks, rows, "loss.class_scope=local"),
    ]
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_and_micro_batches_train_as_one_process_does(tmp_path: Path):
    spawn(on_a_rank, args=(str(tmp_path),), nprocs=2)
    losses, weights = trained(Ranks(CPU), slice(0, 10))
    split = trained(Ranks(CPU), slice(0, 10), "schedule.micro_batch=4")
    (one, one_split, one_local), (two, two_split, two_local) = (
        torch.load(tmp_path / f"{rank}.pt") for rank in range(2)
    )
    for their_losses, their_weights in (split, one, one_split, two, two_split):
        assert their_losses == pytest.approx(losses, rel=1e-5)
        torch.testing.assert_close(their_weights, weights, rtol=1e-4, atol=1e-6)
    assert one_local[0] != pytest.approx(losses, rel=1e-3)  # each rank's share alone
    assert two_local[0] != pytest.approx(one_local[0], rel=1e-3)
    torch.testing.assert_close(one_local[1], two_local[1])  # of one network still


def test_options_of_the_recipe_are_the_functions_keywords():
    targets, logits = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    recipe = Recipe().with_settings([f"loss.name={NAME}", "loss.power=3"]).loss
    found = loss_of(recipe, Ranks(CPU), allow_code=True)(logits, targets)
    assert found.item() == spread(logits, targets, power=3).item() != spread(logits, targets).item()


@pytest.mark.parametrize(
    ("function", "said"), [("per_image", r"gave shape \(10,\)"), ("number", "gave a float")]
)
def test_what_is_no_scalar_is_refused(function, said):
    made = stepper(Ranks(CPU), name=f"{__name__}:{function}")
    with pytest.raises(RecipeError, match=rf"{function}' {said}; expected a tensor of shape \(\)"):
        made(batch(), 0, STEPS)


@pytest.mark.parametrize("function", ["constant", "detached", "without", "of_another"])
@pytest.mark.parametrize("setting", [(), ("schedule.micro_batch=4",)])
def test_what_has_no_gradient_is_refused(function, setting):
    made = stepper(Ranks(CPU), *setting, name=f"{__name__}:{function}")
    with pytest.raises(RecipeError, match=rf"loss '.*{function}' gave a number that has no grad"):
        made(batch(), 0, STEPS)


def test_one_that_ends_the_program_is_an_error():
    made = stepper(Ranks(CPU), name=f"{__name__}:ends")
    with pytest.raises(RecipeError, match=r"^loss '.*:ends': its code called sys\.exit\(0\)"):
        made(batch(), 0, STEPS)


def test_it_is_not_imported_unless_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "own_losses_of_the_test.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="nothing was imported"):
        stepper(Ranks(CPU), name="own_losses_of_the_test:one", allow_code=False)
    assert "own_losses_of_the_test" not in sys.modules
    assert not (tmp_path / "ran").exists()

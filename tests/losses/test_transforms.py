"""The losses under the transforms of `torch.func`, against loops over `torch.autograd`."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from tests.losses.reference_baselines import drawn_batch
from twlcli.losses import LOSSES, two_way_loss

# torch's own way to forward derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")

PAIRWISE = ("warp", "rml")  # the number of pairs depends on the targets
every_loss = pytest.mark.parametrize("name", LOSSES)
batchable_loss = pytest.mark.parametrize("name", [name for name in LOSSES if name not in PAIRWISE])
anchored = pytest.mark.parametrize("anchor", [False, True])


def drawn_batches(count: int) -> tuple[Tensor, Tensor]:
    """Logits and targets (B, 4, 5); one label nobody has, one image nobody knows."""
    pairs = [drawn_batch(seed, 4, 5) for seed in range(count)]
    logits, targets = (torch.stack(each) for each in zip(*pairs, strict=True))
    targets[0, :, 2] = 0
    targets[1, 3] = -1
    targets[-1] = -1
    return logits, targets


def gradient_of(name: str, logits: Tensor, targets: Tensor, **options: bool) -> Tensor:
    logits = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(LOSSES[name](logits, targets, **options), logits)[0]


def hessian_of(name: str, logits: Tensor, targets: Tensor) -> Tensor:
    """Row by row, from the gradient of the gradient."""
    logits = logits.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](logits, targets), logits, create_graph=True)
    rows = [torch.autograd.grad(each, logits, retain_graph=True)[0] for each in gradient.flatten()]
    return torch.stack(rows).view(*logits.shape, *logits.shape)


@every_loss
def test_grad(name):
    for logits, targets in zip(*drawn_batches(5), strict=True):
        expected = gradient_of(name, logits, targets)
        for transform in (grad, jacrev, jacfwd):
            torch.testing.assert_close(transform(LOSSES[name])(logits, targets), expected)


@batchable_loss
def test_vmap_is_the_loop(name):
    logits, targets = drawn_batches(5)
    pairs = list(zip(logits, targets, strict=True))
    values = torch.stack([LOSSES[name](*pair) for pair in pairs])
    gradients = torch.stack([gradient_of(name, *pair) for pair in pairs])
    torch.testing.assert_close(vmap(LOSSES[name])(logits, targets), values)
    torch.testing.assert_close(vmap(grad(LOSSES[name]))(logits, targets), gradients)
    last = logits.movedim(0, 2), targets.movedim(0, 1)  # the batch stands elsewhere in each
    torch.testing.assert_close(vmap(LOSSES[name], in_dims=(2, 1))(*last), values)


@batchable_loss
def test_vmap_over_logits_or_targets_alone(name):
    logits, targets = drawn_batches(4)
    of_targets = torch.stack([gradient_of(name, logits[0], each) for each in targets])
    found = vmap(grad(LOSSES[name]), in_dims=(None, 0))(logits[0], targets)
    torch.testing.assert_close(found, of_targets)
    of_logits = torch.stack([gradient_of(name, each, targets[0]) for each in logits])
    found = vmap(grad(LOSSES[name]), in_dims=(0, None))(logits, targets[0])
    torch.testing.assert_close(found, of_logits)


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairs_cannot_be_batched(name):
    logits, targets = drawn_batches(2)
    with pytest.raises(RuntimeError, match="output dynamic shape"):
        vmap(LOSSES[name])(logits, targets)
    of_logits = torch.stack([LOSSES[name](each, targets[0]) for each in logits])
    found = vmap(LOSSES[name], in_dims=(0, None))(logits, targets[0])
    torch.testing.assert_close(found, of_logits)


@every_loss
def test_hessian(name):
    for logits, targets in zip(*drawn_batches(4), strict=True):
        expected = hessian_of(name, logits, targets)
        for transform in (hessian, lambda loss: jacrev(jacrev(loss))):
            found = transform(LOSSES[name])(logits, targets)
            torch.testing.assert_close(found, expected)


@anchored
def test_directional_derivative(anchor):
    logits, targets = drawn_batch(3, 4, 5)
    direction = torch.ones_like(logits).cumsum(1)
    value, slope, *_ = jvp(
        lambda x: two_way_loss(x, targets, anchor=anchor), (logits,), (direction,)
    )
    gradient = gradient_of("two-way", logits, targets, anchor=anchor)
    torch.testing.assert_close(value, two_way_loss(logits, targets, anchor=anchor))
    torch.testing.assert_close(slope, (gradient * direction).sum())


@batchable_loss
def test_gradients_of_each_image_of_a_network(name):
    """Per-sample gradients of the weights, as for influence functions or private training."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    weights = {key: value.detach() for key, value in network.named_parameters()}
    features = torch.randn(4, 3, dtype=torch.float64)
    _, targets = drawn_batch(2, 4, 5)

    def loss_of(weights: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        return LOSSES[name](functional_call(network, weights, (image[None],)), target[None])

    found = vmap(grad(loss_of), in_dims=(None, 0, 0))(weights, features, targets)
    for number, (image, target) in enumerate(zip(features, targets, strict=True)):
        network.zero_grad()
        LOSSES[name](network(image[None]), target[None]).backward()
        for key, parameter in network.named_parameters():
            torch.testing.assert_close(found[key][number], parameter.grad)


def test_loss_of_plain_tensors_inside_a_transform():
    logits, targets = drawn_batch(3, 4, 5)
    value = two_way_loss(logits, targets)
    scaled = grad(lambda factor: factor * two_way_loss(logits, targets))(torch.tensor(2.0))
    torch.testing.assert_close(scaled, value.float())


@pytest.mark.parametrize("name", ["two-way", "bce"])
def test_compiled_transforms(name):
    torch.compiler.reset()
    logits, targets = drawn_batches(3)
    expected = torch.stack([gradient_of(name, *pair) for pair in zip(logits, targets, strict=True)])
    compiled = partial(torch.compile, fullgraph=True, backend="aot_eager", dynamic=False)
    single = compiled(grad(LOSSES[name]))
    torch.testing.assert_close(single(logits[0], targets[0]), expected[0])
    batched = compiled(vmap(grad(LOSSES[name])))
    torch.testing.assert_close(batched(logits, targets), expected)
    torch.compiler.reset()

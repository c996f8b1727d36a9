import copy
import inspect
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from tests.losses.reference_baselines import drawn_batch
from twlcli import losses
from twlcli.losses import (
    LOSSES,
    AsymmetricLoss,
    BCELoss,
    ClassWiseLoss,
    FocalLoss,
    MarginLoss,
    RMLLoss,
    SampleWiseLoss,
    SoftmaxLoss,
    TwoWayLoss,
    WARPLoss,
    ZLPRLoss,
)
from twlcli.losses.modules import LossModule

MODULES: dict[str, type[LossModule]] = {
    "two-way": TwoWayLoss,
    "sample-wise": SampleWiseLoss,
    "class-wise": ClassWiseLoss,
    "margin": MarginLoss,
    "softmax": SoftmaxLoss,
    "bce": BCELoss,
    "focal": FocalLoss,
    "asl": AsymmetricLoss,
    "warp": WARPLoss,
    "rml": RMLLoss,
    "zlpr": ZLPRLoss,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "two-way": {"positive_temperature": 2.0, "margin": 1.0, "anchor": True},
    "sample-wise": {"negative_temperature": 0.5},
    "class-wise": {"class_scope": "local", "margin": -1.0},
    "margin": {"margin": 0.5},
    "softmax": {},
    "bce": {"positive_weight": 3.0, "reduction": "sum"},
    "focal": {"gamma": 1.0, "alpha": 0.25},
    "asl": {"gamma_positive": 1.0, "clip": 0.1, "focus_gradient": True, "reduction": "image"},
    "warp": {"sampled": False},
    "rml": {"ramp": -5.0, "kappa": 1.0},
    "zlpr": {},
}
every_module = pytest.mark.parametrize("name", MODULES)


def test_every_loss_has_a_module_of_its_own():
    assert list(MODULES) == list(LOSSES)
    assert len(set(MODULES.values())) == len(MODULES)
    assert all(vars(losses)[module.__name__] is module for module in MODULES.values())
    assert {module.__name__ for module in MODULES.values()} < set(losses.__all__)


@every_module
def test_keywords_are_those_of_the_function(name):
    """Name, order, default, kind and annotation."""
    _, *keywords = inspect.signature(MODULES[name].__init__).parameters.values()
    _, _, *expected = inspect.signature(LOSSES[name]).parameters.values()
    assert keywords == expected


@every_module
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["defaults", "options"])
def test_value_and_gradient_are_those_of_the_function(name, options):
    options = options.get(name, {})
    logits, targets = drawn_batch(1, 6, 5)
    logits.requires_grad_()
    value, expected = (
        MODULES[name](**options)(logits, targets),
        LOSSES[name](logits, targets, **options),
    )
    assert torch.equal(value, expected)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.equal(gradient, torch.autograd.grad(expected, logits)[0])


@every_module
def test_options_are_shown_and_can_be_changed(name):
    module = MODULES[name](**OPTIONS[name])
    for option, value in OPTIONS[name].items():
        assert f"{option}={value!r}" in repr(module)
        assert getattr(module, option) == value
    assert repr(module).startswith(f"{type(module).__name__}(")
    assert "group" not in repr(module)
    logits, targets = drawn_batch(1, 6, 5)
    changed = MODULES[name]()
    for option, value in OPTIONS[name].items():
        setattr(changed, option, value)
    assert changed(logits, targets) == module(logits, targets)


@every_module
def test_copies_and_pickles_are_the_same_loss(name):
    module = MODULES[name](**OPTIONS[name])
    logits, targets = drawn_batch(1, 6, 5)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ]
    for each in copies:
        assert repr(each) == repr(module)
        assert each(logits, targets) == module(logits, targets)


@every_module
def test_there_is_nothing_to_train_or_save(name):
    module = MODULES[name]()
    assert not list(module.parameters())
    assert not module.state_dict()
    nn.Sequential(nn.Linear(2, 2), module).load_state_dict(
        nn.Sequential(nn.Linear(2, 2), MODULES[name]()).state_dict()
    )


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (TwoWayLoss, {"positive_temperature": 0.0}, "temperatures above 0"),
        (TwoWayLoss, {"negative_temperature": float("nan")}, "temperatures above 0"),
        (TwoWayLoss, {"class_scope": "rank"}, "class_scope of global or local, got 'rank'"),
        (SampleWiseLoss, {"negative_temperature": -1.0}, "temperatures above 0"),
        (ClassWiseLoss, {"class_scope": "rank"}, "class_scope of global or local, got 'rank'"),
        (BCELoss, {"positive_weight": -1.0}, "positive_weight >= 0, got -1.0"),
        (BCELoss, {"positive_weight": torch.tensor([1.0, -2.0])}, "positive_weight >= 0, got -2.0"),
        (BCELoss, {"positive_weight": torch.ones(2, 3)}, r"one number or \(6,\), got \(2, 3\)"),
        (BCELoss, {"reduction": "none"}, "mean, sum or image, got 'none'"),
        (FocalLoss, {"gamma": -1.0}, "gamma >= 0"),
        (FocalLoss, {"gamma": float("nan")}, "gamma >= 0"),
        (FocalLoss, {"alpha": 2.0}, "alpha from 0 to 1"),
        (FocalLoss, {"reduction": "none"}, "mean, sum or image, got 'none'"),
        (AsymmetricLoss, {"clip": 1.0}, "clip from 0 to below 1"),
        (AsymmetricLoss, {"gamma_positive": float("nan")}, "gammas >= 0"),
        (RMLLoss, {"ramp": 1.0}, "ramp below 1"),
        (RMLLoss, {"kappa": float("nan")}, "kappa >= 0"),
    ],
)
def test_options_are_checked_when_built(module, options, message):
    with pytest.raises(ValueError, match=message):
        module(**options)


@every_module
def test_an_option_that_is_not_there_names_the_loss_and_its_own(name):
    for positional, keywords in (((), {"temperature": 2}), ((2.0,), {})):
        with pytest.raises(TypeError) as caught:
            MODULES[name](*positional, **keywords)
        assert str(caught.value).startswith(f"{MODULES[name].__name__}: ")
        for option in inspect.signature(MODULES[name]).parameters:
            assert option in str(caught.value)


def test_weights_of_labels_move_with_the_module_and_are_no_state():
    loss = BCELoss(positive_weight=torch.tensor([1.0, 2.0, 3.0]))
    assert "positive_weight=tensor of (3,)" in repr(loss)
    assert not loss.state_dict()
    moved = copy.deepcopy(loss).to("meta")
    assert moved.options["positive_weight"].is_meta
    logits, targets = drawn_batch(1, 4, 3)
    expected = LOSSES["bce"](logits, targets, positive_weight=torch.tensor([1.0, 2.0, 3.0]))
    assert loss(logits, targets) == expected
    with pytest.raises(ValueError, match=r"one number or \(5,\), got \(3,\)"):
        loss(*drawn_batch(1, 4, 5))


def test_building_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    WARPLoss(sampled=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_module_compiles():
    torch.compiler.reset()
    logits, targets = drawn_batch(1, 6, 5)
    loss = TwoWayLoss()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=False)
    torch.testing.assert_close(compiled(logits, targets), loss(logits, targets))
    torch.compiler.reset()

import torch

from twlcli.heads.standard import Standard


def drawn():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 6, dtype=torch.float64, generator=generator)
    return features * torch.tensor([1, 10, 0.1, 3, 1, 1]) + torch.arange(6)


def test_mean_0_and_deviation_1():
    features = drawn()
    standard = Standard.of(features)
    applied = standard.apply_(features.clone())
    torch.testing.assert_close(applied.mean(0), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(applied.std(0, correction=0), torch.ones(6, dtype=torch.float64))


def test_a_folded_head_does_the_same():
    features = drawn()
    standard = Standard.of(features)
    applied = standard.apply_(features.clone())
    head = torch.randn(7, 3, dtype=torch.float64)
    folded = standard.folded(head)
    torch.testing.assert_close(features @ folded[:-1] + folded[-1], applied @ head[:-1] + head[-1])


def test_features_that_hardly_vary_are_not_blown_up():
    features = drawn()
    features[:, 3] = 5.0
    features[:, 4] *= 1e-9
    standard = Standard.of(features)
    applied = standard.apply_(features.clone())
    assert applied.isfinite().all()
    assert applied[:, 3:5].abs().max() < 1e-6
    constant = torch.ones(4, 2)
    assert not Standard.of(constant).apply_(constant.clone()).any()

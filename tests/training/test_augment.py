from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from twlcli.images.preprocess import load_crop
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.torch import normalise, to_unit
from twlcli.recipe import AugmentRecipe, ImageRecipe
from twlcli.training.augment import (
    Colour,
    Operations,
    change_colour,
    draw_colour,
    draw_crop,
    network_input,
)


def random_crop(path, augment, image, *, generator):
    return np.array(load_crop(path, None, draw_crop(augment, image, generator=generator)))


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """Red grows from left to right, green from top to bottom, blue is even."""
    across, down = np.meshgrid(np.arange(200), np.arange(150))
    pixels = np.stack((across, down, np.full_like(across, 100)), axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def test_same_generator_gives_the_same_crop(photograph):
    crops = [
        random_crop(
            photograph, AugmentRecipe(), ImageRecipe(size=32), generator=np.random.default_rng(seed)
        )
        for seed in (3, 3, 4)
    ]
    assert crops[0].shape == (32, 32, 3)
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_crops_have_the_asked_area_ratio_and_flips(photograph):
    augment = AugmentRecipe(min_scale=0.2)
    scales, ratios, flips = [], [], 0
    for seed in range(400):
        crop = random_crop(
            photograph, augment, ImageRecipe(size=64), generator=np.random.default_rng(seed)
        ).astype(float)
        # The gradient of the picture is 1 per pixel, so it tells how much was cropped.
        across = (crop[:, -1, 0] - crop[:, 0, 0]).mean() * 64 / 63
        down = (crop[-1, :, 1] - crop[0, :, 1]).mean() * 64 / 63
        flips += across < 0
        scales.append(abs(across) * down / (200 * 150))
        ratios.append(abs(across) / down)
    assert 0.15 < min(scales) < 0.25
    assert max(scales) > 0.9
    assert min(ratios) == pytest.approx(3 / 4, abs=0.05)
    assert max(ratios) == pytest.approx(4 / 3, abs=0.05)
    assert 150 < flips < 250


def test_whole_picture_where_no_crop_is_asked(photograph):
    augment = AugmentRecipe(min_scale=1.0, max_stretch=1.0, flip=0.0)
    crop = random_crop(
        photograph, augment, ImageRecipe(size=150), generator=np.random.default_rng(0)
    )
    assert np.array_equal(crop, np.array(Image.open(photograph))[:, 25:175])


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_crops_are_resized_as_the_recipe_says(tmp_path, name):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "noise.png")
    augment = AugmentRecipe(min_scale=1.0, max_stretch=1.0, flip=0.0)
    recipe = ImageRecipe(size=40, interpolation=name)
    generator = np.random.default_rng(0)
    crop = random_crop(tmp_path / "noise.png", augment, recipe, generator=generator)
    expected = image.resize((40, 40), Image.Resampling[name.upper()])
    assert np.array_equal(crop, np.array(expected))


def test_colour_equals_torchvision():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 12, 10, generator=generator)
    order = torch.stack([torch.randperm(3, generator=generator) for _ in range(8)]).float()
    factors = 0.6 + 0.8 * torch.rand(8, 3, generator=generator)
    lighting = 0.1 * torch.randn(8, 3, generator=generator)
    changes = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    expected = []
    for number, image in enumerate(images):
        for kind in order[number].int().tolist():
            image = changes[kind](image, factors[number, kind].item())
        expected.append(image + lighting[number].view(3, 1, 1))
    changed = change_colour(images, Colour(order, factors, lighting))
    torch.testing.assert_close(changed, torch.stack(expected), atol=2e-4, rtol=0)


def test_no_jitter_and_no_lighting_change_nothing():
    augment = AugmentRecipe(jitter=0.0, lighting=0.0)
    drawn = torch.from_numpy(draw_colour(augment, generator=np.random.default_rng(0)))[None]
    images = torch.rand(1, 3, 4, 4)
    changed = change_colour(images, Colour(*drawn.split(3, dim=1)))
    torch.testing.assert_close(changed, images)


@pytest.mark.parametrize("compiled", [False, True])
def test_network_input_is_the_changed_colours_normalised(compiled):
    augment, form = AugmentRecipe(), Preprocessing(9, 9)
    drawn = [draw_colour(augment, generator=np.random.default_rng(seed)) for seed in range(8)]
    colour = Colour(*torch.from_numpy(np.stack(drawn)).split(3, dim=1))
    images = torch.randint(0, 256, (8, 9, 7, 3), dtype=torch.uint8)
    before = images.clone()
    made = network_input
    if compiled:  # traced whole, without the compiler's own time
        made = torch.compile(network_input, backend="aot_eager", fullgraph=True)
    found = made(images, colour, form)
    expected = normalise(change_colour(to_unit(images), colour), form)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_lighting_lies_along_the_colours_of_imagenet():
    augment = AugmentRecipe(lighting=1.0)
    drawn = np.array(
        [draw_colour(augment, generator=np.random.default_rng(seed))[6:] for seed in range(4000)]
    )
    spread, axes = np.linalg.eigh(np.cov(drawn.T))
    assert np.sqrt(spread[::-1]) == pytest.approx([0.2175, 0.0188, 0.0045], rel=0.1)
    assert abs(axes[:, -1] @ [-0.5675, -0.5808, -0.5836]) == pytest.approx(1, abs=0.01)


def test_pixels_to_the_networks_input():
    pixels = torch.randint(0, 256, (2, 5, 6, 3), dtype=torch.uint8)
    unit = to_unit(pixels)
    assert unit.shape == (2, 3, 5, 6)
    assert unit.is_contiguous(memory_format=torch.channels_last)
    preprocessing = Preprocessing()
    expected = tv.normalize(
        pixels.permute(0, 3, 1, 2) / 255, list(preprocessing.mean), list(preprocessing.std)
    )
    torch.testing.assert_close(normalise(unit, preprocessing), expected)


def noise(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def changed(augment: AugmentRecipe, seed: int) -> np.ndarray:
    operations = Operations(augment, ImageRecipe(size=32))
    return operations(noise(), generator=np.random.default_rng(seed))


def test_operations_depend_on_the_generator_alone_and_leave_torchs():
    augment = AugmentRecipe(rand_augment=2, magnitude=15, erasing=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    images = [changed(augment, seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.rand(3), expected)
    assert images[0].dtype == np.uint8 and images[0].shape == (32, 32, 3)
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_operations_are_torchvisions():
    augment = AugmentRecipe(rand_augment=2, magnitude=15, erasing=0.9)
    grey = [round(255 * value) for value in (0.485, 0.456, 0.406)]
    transform = v2.Compose(
        [
            v2.RandAugment(2, 15, interpolation=v2.InterpolationMode.BILINEAR, fill=grey),
            v2.RandomErasing(0.9, value=grey),
        ]
    )
    for seed in range(20):
        drawn = int(np.random.default_rng(seed).integers(2**63))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(drawn)
            expected = transform(torch.from_numpy(noise()).permute(2, 0, 1)).permute(1, 2, 0)
        assert np.array_equal(changed(augment, seed), expected.numpy())


def test_erasing_covers_its_share_of_images_with_the_mean_colour():
    grey = [round(255 * value) for value in (0.485, 0.456, 0.406)]
    images = [changed(AugmentRecipe(erasing=0.25), seed) for seed in range(400)]
    different = [(image != noise()).any(axis=-1) for image in images]
    erased = [where for where in different if where.any()]
    assert 70 < len(erased) < 130
    for image, where in zip(images, different, strict=True):
        assert (image[where] == grey).all()
    shares = [where.mean() for where in erased]
    assert min(shares) > 0.01 and max(shares) < 0.36


def test_no_operation_changes_nothing():
    image = noise()
    operations = Operations(AugmentRecipe(magnitude=30), ImageRecipe())
    assert operations(image, generator=np.random.default_rng(0)) is image

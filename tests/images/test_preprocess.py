import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images.arrays import load, preprocess
from tests.images.encoded import encode, noise, picture
from twlcli.errors import ImageError, ModelError
from twlcli.model.preprocessing import Preprocessing


def resized_then_cropped(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """The two steps one after the other, with torchvision's roundings."""
    width, height = image.size
    size, crop = preprocessing.resize, preprocessing.crop
    if width <= height:
        new_width, new_height = size, int(size * height / width)
    else:
        new_width, new_height = int(size * width / height), size
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    resized = image.resize((new_width, new_height), method[preprocessing.interpolation])
    top, left = round((new_height - crop) / 2.0), round((new_width - crop) / 2.0)
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))


def largest_difference(first: np.ndarray, second: np.ndarray) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(2, 400), height=st.integers(2, 400), resize=st.integers(2, 96), data=st.data()
)
def test_preprocess_equals_resize_then_crop(width, height, resize, data):
    crop = data.draw(st.integers(1, resize))
    preprocessing = Preprocessing(resize=resize, crop=crop)
    image = noise(width, height)
    expected = resized_then_cropped(image, preprocessing).astype(int)
    differences = np.abs(preprocess(image, preprocessing) - expected)
    assert differences.max() <= 2  # one for each of the two passes, which round
    assert (differences == 2).sum() <= max(2, differences.size // 100)


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (500, 500), (224, 300), (97, 1000)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (235, 224), (224, 224), (33, 32)])
def test_preprocess_equals_torchvision(size, interpolation, resize, crop):
    transforms = pytest.importorskip("torchvision.transforms")
    method = transforms.InterpolationMode(interpolation)
    both = transforms.Compose(
        [transforms.Resize(resize, method, antialias=True), transforms.CenterCrop(crop)]
    )
    # Without overshoot of the bicubic kernel: grey levels from 40 to 215.
    image = picture(*size).point(lambda level: 40 + level * 175 // 255)
    result = preprocess(image, Preprocessing(resize, crop, interpolation))
    assert largest_difference(result, np.asarray(both(image))) <= 1


def test_preprocess_of_an_extreme_shape_computes_only_the_crop():
    result = preprocess(Image.new("RGB", (1, 30_000), "red"), Preprocessing())
    assert result.shape == (224, 224, 3)
    assert (result == [255, 0, 0]).all()


def test_preprocess_refuses_an_unknown_interpolation():
    with pytest.raises(ModelError, match=r"interpolation 'cubic' is not known \(bilinear, bicubic"):
        preprocess(picture(), Preprocessing(interpolation="cubic"))


def test_load_decodes_jpeg_reduced_unless_exact(tmp_path):
    path = tmp_path / "photo.jpg"
    image = picture(1600, 1200)
    path.write_bytes(encode(image, "JPEG", quality=95))
    preprocessing = Preprocessing(resize=64, crop=56)
    exact = load(path, preprocessing, exact=True)
    assert exact.dtype == np.uint8 and exact.flags.writeable
    decoded = Image.open(path).convert("RGB")
    assert largest_difference(exact, resized_then_cropped(decoded, preprocessing)) <= 1
    assert largest_difference(load(path, preprocessing), exact) <= 6


def test_load_gives_the_reason(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(noise(), "JPEG")[:5000])
    with pytest.raises(ImageError, match=r"^truncated JPEG$"):
        load(path, Preprocessing())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pixels_without_a_profile_are_those_of_plain_pillow(tmp_path, format_name, mode):
    """What models were trained and used on before colour profiles were looked at."""
    if (format_name, mode) in {("PNG", "CMYK"), ("JPEG", "RGBA"), ("JPEG", "P")}:
        pytest.skip("there is no such file")
    path = tmp_path / "image"
    path.write_bytes(encode(noise(700, 500).convert(mode), format_name))
    with Image.open(path) as image:
        image.draft(None, (96, 96))
        shown = image.convert("RGBA") if mode == "RGBA" else image.convert("RGB")
        white = Image.new("RGB", shown.size, "white")
        white.paste(shown, mask=shown.getchannel("A") if mode == "RGBA" else None)
    preprocessing = Preprocessing(resize=48, crop=32)
    assert (load(path, preprocessing) == preprocess(white, preprocessing)).all()

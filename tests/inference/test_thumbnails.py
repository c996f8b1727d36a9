import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from tests.images.encoded import encode, huge_png, noise, picture
from twlcli.annotations.annotations import Annotations
from twlcli.images.decoding import Decoding
from twlcli.inference.thumbnails import SIDE, thumbnails
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.model.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(resize=32, crop=24)
ALL = 1 << 20


def annotated(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Annotations(
        source=folder / "labels.csv",
        format="csv",
        root=folder,
        images=tuple(files),
        labels=LabelMatrix.from_dense(np.zeros((len(files), 1), dtype=np.int8)),
        vocabulary=Vocabulary(("cat",)),
        splits=("",) * len(files),
    )


def decoded(address: str) -> Image.Image:
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(b64decode(content)))


def test_the_model_s_crop_is_shown(tmp_path):
    image = Image.new("RGB", (300, 200), "white")
    image.paste("red", (75, 25, 225, 175))  # 24 / 32 of the shorter side, in the middle
    found = thumbnails(
        annotated(tmp_path, {"a.png": encode(image, "PNG")}), [0], PREPROCESSING, most_bytes=ALL
    )
    shown = decoded(found[0])
    assert shown.size == (SIDE, SIDE)
    pixels = np.asarray(shown).astype(int)
    assert (abs(pixels[2:-2, 2:-2] - (254, 0, 0)) < 12).all()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF"])
def test_every_format_becomes_a_jpeg(tmp_path, format_name):
    if format_name == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    content = encode(picture(64, 64), format_name)
    name = "a.heic" if format_name == "HEIF" else f"a.{format_name.lower()}"
    found = thumbnails(annotated(tmp_path, {name: content}), [0], PREPROCESSING, most_bytes=ALL)
    assert decoded(found[0]).size == (SIDE, SIDE)


def test_no_file_is_decoded_in_this_process(tmp_path, monkeypatch):
    data = annotated(tmp_path, {"a.png": encode(picture(), "PNG")})

    def never(*arguments, **options):
        raise AssertionError("decoded in the main process")

    monkeypatch.setattr(Image, "open", never)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    assert list(thumbnails(data, [0], PREPROCESSING, most_bytes=ALL)) == [0]


def test_images_that_cannot_be_read_have_none(tmp_path):
    files = {"a.png": b"nothing", "b.png": huge_png(), "c.png": encode(picture(), "PNG")}
    data = annotated(tmp_path, files)
    small = Decoding(max_pixels=1_000_000)
    found = thumbnails(data, [0, 1, 2], PREPROCESSING, most_bytes=ALL, decoding=small)
    assert list(found) == [2]
    (tmp_path / "c.png").unlink()
    assert thumbnails(data, [2], PREPROCESSING, most_bytes=ALL) == {}


def test_the_most_important_come_first_as_long_as_there_is_room(tmp_path):
    data = annotated(tmp_path, {f"{n}.png": encode(noise(), "PNG") for n in range(6)})
    order = [4, 2, 0, 5, 1, 3]
    every = thumbnails(data, order, PREPROCESSING, most_bytes=ALL, workers=2)
    assert list(every) == order
    size = len(every[4])
    room = 3 * size + size // 2
    assert list(thumbnails(data, order, PREPROCESSING, most_bytes=room, workers=2)) == order[:3]
    assert thumbnails(data, [], PREPROCESSING, most_bytes=ALL) == {}

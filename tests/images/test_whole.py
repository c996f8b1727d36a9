import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images.encoded import encode, noise, picture
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import DecoderProcess, LocalDecoder
from twlcli.images.whole import Whole


@settings(deadline=None, max_examples=50)
@given(width=st.integers(1, 900), height=st.integers(1, 900), side=st.integers(2, 300))
def test_nothing_is_cut_off_and_nothing_enlarged(width, height, side):
    whole = Whole(side)
    sheet = whole.drawn(Image.new("RGB", (width, height), (255, 128, 0)))
    assert sheet.size == (side, side + 1)
    taken = whole.taken_from(sheet)
    assert max(taken.size) == min(side, max(width, height))
    scale = max(taken.size) / max(width, height)
    assert abs(taken.width - scale * width) <= 1
    assert abs(taken.height - scale * height) <= 1
    assert set(taken.get_flattened_data()) == {(255, 128, 0)}


def test_an_image_that_fits_stays_as_it_is():
    image = noise(40, 30)
    taken = Whole(64).taken_from(Whole(64).drawn(image))
    assert np.array_equal(np.asarray(taken), np.asarray(image))


@pytest.mark.parametrize("decoder_kind", [LocalDecoder, DecoderProcess])
def test_decoders_give_the_whole(tmp_path, decoder_kind):
    path = tmp_path / "wide.png"
    path.write_bytes(encode(picture(300, 90), "PNG"))
    decoder, whole = decoder_kind(), Whole(100)
    sheet = np.empty((101, 100, 3), dtype=np.uint8)
    try:
        decoder.decode(ImageFile(path, path.name), whole, sheet)
    finally:
        decoder.close()
    taken = whole.taken_from(Image.fromarray(sheet))
    assert taken.size == (100, 30)
    expected = np.asarray(picture(300, 90).resize((100, 30), Image.Resampling.BILINEAR))
    assert np.array_equal(np.asarray(taken), expected)

import threading
import time
from itertools import islice

import numpy as np
import pytest

from tests.images.arrays import load
from tests.images.encoded import encode, picture
from twlcli.errors import DeviceError
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import DecoderProcess, LocalDecoder
from twlcli.inference.stream import stream
from twlcli.labels import Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec

SMALL = Preprocessing(resize=16, crop=12)


@pytest.fixture
def files(tmp_path):
    found = []
    for index in range(23):
        path = tmp_path / f"{index}.png"
        path.write_bytes(encode(picture(20 + index, 20), "PNG"))
        found.append(ImageFile(path, path.name))
    return found


class Model:
    """A predictor made of a function."""

    spec = ModelSpec(Vocabulary(("red", "green", "blue")), "drawn", SMALL)
    batch_size = 4

    def __init__(self, predict=None) -> None:
        self.predict = predict or mean_color

    def __call__(self, images):
        return self.predict(images)


def mean_color(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


def run(files, predict=mean_color, *, decoder=LocalDecoder, workers=3, batch_size=4):
    remaining = iter(files)
    return stream(
        iter(lambda: tuple(islice(remaining, batch_size)), ()),
        Model(predict),
        files_of=tuple,
        decoders=[decoder() for _ in range(workers)],
    )


@pytest.mark.parametrize(
    ("decoder", "workers"),
    [(LocalDecoder, 1), (LocalDecoder, 2), (LocalDecoder, 5), (DecoderProcess, 2)],
)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_stream_equals_a_plain_loop(files, decoder, workers, batch_size):
    chunks = list(run(files, decoder=decoder, workers=workers, batch_size=batch_size))
    assert [file for chunk in chunks for file in chunk.group] == files
    expected = [load(file.path, SMALL).mean(axis=(0, 1)) for file in files]
    logits = np.concatenate([chunk.logits for chunk in chunks])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    assert all(error is None for chunk in chunks for error in chunk.errors)
    assert max(len(chunk.group) for chunk in chunks) <= batch_size


def test_stream_keeps_the_order_of_slow_chunks(files):
    def slow_at_first(images):
        time.sleep(0.05 if (images[0] == load(files[0].path, SMALL)).all() else 0)
        return mean_color(images)

    chunks = run(files, slow_at_first, batch_size=1, workers=4)
    assert [chunk.group[0] for chunk in chunks] == files


def test_unordered_groups_do_not_wait_for_a_slow_one(files):
    go_on = threading.Event()

    def slow_at_first(images):
        if (images[0] == load(files[0].path, SMALL)).all():
            assert go_on.wait(60)
        return mean_color(images)

    chunks = stream(
        range(len(files)),
        Model(slow_at_first),
        files_of=lambda number: [files[number]],
        decoders=[LocalDecoder()] * 2,
        ordered=False,
    )
    early = [next(chunks) for _ in files[1:]]
    go_on.set()
    late = list(chunks)
    assert [chunk.group for chunk in late] == [0]
    assert sorted(chunk.group for chunk in early) == list(range(1, len(files)))
    for chunk in early + late:
        expected = load(files[chunk.group].path, SMALL).mean(axis=(0, 1))
        np.testing.assert_allclose(chunk.logits[0], expected, rtol=1e-6)


def test_stream_puts_failures_in_place(files):
    files[1].path.write_bytes(b"")
    files[5] = ImageFile(files[5].path, files[5].name, "not a file")
    for index in (8, 9, 10, 11):
        files[index].path.write_text("text")
    chunks = list(run(files))
    reasons = [str(error) if error else None for chunk in chunks for error in chunk.errors]
    logits = np.concatenate([chunk.logits for chunk in chunks])
    failed = [index for index, reason in enumerate(reasons) if reason]
    assert failed == [1, 5, 8, 9, 10, 11]
    assert reasons[1] == "the file is empty" and reasons[5] == "not a file"
    assert np.isnan(logits[failed]).all()
    expected = load(files[2].path, SMALL).mean(axis=(0, 1))
    np.testing.assert_allclose(logits[2], expected, rtol=1e-6)


def test_stream_of_nothing_is_empty():
    assert list(run([])) == []


def test_stream_draws_files_only_as_it_goes(files):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield files[0]

    chunks = run(endless(), workers=2, batch_size=3)
    for seen in range(1, 6):
        next(chunks)
        assert len(drawn) <= (seen + 2 * 2) * 3
    chunks.close()


def test_stream_ends_its_threads_when_closed(files):
    before = threading.active_count()
    chunks = run(files * 20, workers=3)
    next(chunks)
    assert threading.active_count() > before
    chunks.close()
    assert threading.active_count() == before


def test_stream_passes_on_what_the_predictor_raises(files):
    before = threading.active_count()

    def failing(images):
        raise DeviceError("out of memory")

    with pytest.raises(DeviceError, match="out of memory"):
        list(run(files, failing))
    assert threading.active_count() == before


def test_stream_keeps_groups_of_any_size(files):
    groups = [tuple(files[:3]), (), tuple(files[3:4]), (), (), tuple(files[4:])]
    sizes: list[int] = []

    def predict(images):
        sizes.append(len(images))
        return mean_color(images)

    chunks = list(
        stream(iter(groups), Model(predict), files_of=tuple, decoders=[LocalDecoder()] * 2)
    )
    assert [chunk.group for chunk in chunks] == groups
    assert [chunk.logits.shape for chunk in chunks] == [(len(group), 3) for group in groups]
    assert sorted(sizes) == [1, 3, len(files) - 4]


def test_an_image_without_finite_numbers_is_an_error_in_its_place(files):
    def broken(images):
        logits = mean_color(images)
        logits[logits[:, 0] == logits[:, 0].max(), 1] = np.nan
        return logits

    chunks = list(run(files, broken))
    for chunk in chunks:
        failed = [place for place, error in enumerate(chunk.errors) if error is not None]
        assert len(failed) >= 1
        assert all(np.isnan(chunk.logits[place]).any() for place in failed)
        assert "numbers for it that are not finite" in str(chunk.errors[failed[0]])
    assert sum(len(chunk.errors) for chunk in chunks) == len(files)

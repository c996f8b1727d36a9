import pytest

from tests.comparison.test_runner import plan
from twlcli.comparison.images import ComparedImages
from twlcli.model.torch import pick_device
from twlcli.training.devices import Ranks


@pytest.mark.parametrize("limit", [8, 13, 25])
def test_a_dry_run_has_images_of_every_label(tmp_path, photographs, limit):
    images = ComparedImages.of(
        plan(tmp_path / "out", photographs, ["bce"], limit=limit), Ranks(pick_device("cpu"))
    )
    for split, whole in (("train", 20), ("val", 10)):
        rows = [row for row, name in enumerate(images.final) if name == split]
        assert len(rows) == min(limit, whole)
        assert (images.data.labels.select(rows).present_per_label() > 0).all()
        assert {images.data.splits[row] for row in rows} == {split}
    assert images.train_count == min(limit, 20)
    tuned = [row for row, name in enumerate(images.tuning) if name != "unused"]
    assert tuned == [row for row, name in enumerate(images.final) if name == "train"]

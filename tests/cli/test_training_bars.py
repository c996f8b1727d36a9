"""What is said of scores and rates."""

import math
from functools import partial

from twlcli.cli.training_bars import TrainingBars, scores_in_words


def test_a_score_that_is_not_defined_is_a_dash():
    record = {"map_class": math.nan, "map_sample": 0.12345, "top_1": math.nan}
    assert scores_in_words(record) == ["mAP@class –", "mAP@sample 12.35", "top-1 –"]


def test_a_rate_is_said_of_enough_images_in_enough_time(monkeypatch, capsys):
    for images, seconds, rate in ((49, 10.0, ""), (500, 0.5, ""), (500, 10.0, ", 50 images/s")):
        bars, clock = TrainingBars(), [0.0]
        monkeypatch.setattr(bars.bars, "get_time", partial(clock.__getitem__, 0))
        bars.extracted(images - 1, images)
        clock[0] = seconds
        bars.extracted(images, images)
        assert capsys.readouterr().err == f"features computed: {images}{rate}\n"

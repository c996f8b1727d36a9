from pathlib import Path

import pytest

from tests.features.test_cache import ABOUT
from twlcli.features.about import About


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"format": 1}',
        ABOUT.to_json().replace('"width": 4', '"width": 0'),
        ABOUT.to_json().replace('"width": 4', '"width": "4"'),
        ABOUT.to_json().replace('"format": 1', '"format": 2'),
        ABOUT.to_json().replace('"resize": 36', '"other": 36'),
    ],
)
def test_what_is_not_about_features_is_a_value_error(text):
    with pytest.raises(ValueError):
        About.from_json(text)


def test_about_survives_json():
    assert About.from_json(ABOUT.to_json()) == ABOUT
    assert Path(ABOUT.key).name == ABOUT.key

import base64
import hashlib

import jinja2
import pytest

from twlcli.pages.colours import DARK, LIGHT
from twlcli.pages.templates import digest, render, render_page, style_of


def test_text_is_escaped():
    page = render_page("pages/base.html", title="</title><script>", style="a{}")
    assert "<title>&lt;/title&gt;&lt;script&gt;</title>" in page
    assert "<style>a{}</style>" in page
    assert "default-src 'none'" in page


def test_what_a_template_does_not_get_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render("pages/base.html", title="x")


def test_digest_is_that_of_the_text():
    expected = base64.b64encode(hashlib.sha256("é".encode()).digest()).decode()
    assert digest("é") == f"'sha256-{expected}'"


def brightness(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_every_background(colours):
    for text in ("ink", "soft", "accent"):
        for background in ("paper", "panel"):
            dark, light = sorted(brightness(colours[name]) for name in (text, background))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, background)


def test_every_colour_is_a_variable_of_the_style_sheet():
    sheet = style_of("pages/report.css")
    assert LIGHT.keys() == DARK.keys()
    for name in LIGHT:
        assert sheet.count(f"--{name}:") == 2
    for used in sheet.split("var(--")[1:]:
        assert used.partition(")")[0] in LIGHT

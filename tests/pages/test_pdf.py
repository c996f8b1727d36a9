import sys

import pytest

from twlcli.errors import MissingExtraError
from twlcli.pages.curves import write_curves
from twlcli.pages.pdf import write_pdf

HISTORY = [
    {"epoch": 1, "loss": 2.0, "map_class": 0.3, "map_sample": 0.4},
    {"epoch": 2, "loss": 1.0, "map_class": 0.5, "map_sample": 0.6},
]


@pytest.fixture
def svg(tmp_path):
    path = tmp_path / "curves.svg"
    write_curves(path, HISTORY)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of reportlab's own code
def test_a_plot_becomes_a_pdf_of_the_same_size(svg, capfd):
    pytest.importorskip("svglib")
    path = write_pdf(svg)
    assert path == svg.with_suffix(".pdf")
    content = path.read_bytes()
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    assert b"/MediaBox [ 0 0 " in content
    assert {each.name for each in svg.parent.iterdir()} == {"curves.svg", "curves.pdf"}
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_it_says_so(svg, monkeypatch):
    monkeypatch.setitem(sys.modules, "svglib", None)
    monkeypatch.setitem(sys.modules, "svglib.svglib", None)
    with pytest.raises(MissingExtraError, match=r"twlcli\[pdf\]"):
        write_pdf(svg)

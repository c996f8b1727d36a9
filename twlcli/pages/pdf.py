"""Plots as PDF, which LaTeX includes as they are."""

from __future__ import annotations

from pathlib import Path

from twlcli.errors import needs_extra
from twlcli.io import replacing


def check_pdf() -> None:
    """Raise MissingExtraError where plots cannot be written as PDF."""
    with needs_extra("writing PDF plots", "pdf"):
        import svglib.svglib  # noqa: F401


def write_pdf(svg: Path) -> Path:
    """Write an SVG file of `write_svg` again, as the PDF of the same name beside it.

    Texts are in Helvetica, which has Latin letters only.

    Raises:
        MissingExtraError: the `pdf` extra is not installed.
    """
    check_pdf()
    from reportlab.graphics import renderPDF
    from svglib.svglib import svg2rlg

    path = svg.with_suffix(".pdf")
    with replacing(path) as temporary:
        renderPDF.drawToFile(svg2rlg(str(svg)), str(temporary), msg="")
    return path

import re
from dataclasses import replace

import pytest

from tests.comparison.drawn import comparison_of
from twlcli.comparison.report import About
from twlcli.comparison.result import Comparison
from twlcli.comparison.tables import latex, markdown

ABOUT = About("Losses on a_b\nc", {}, "twl compare 'a\nb'")


def ugly(name: str) -> Comparison:
    """With one candidate of that name."""
    comparison = comparison_of(("two-way", "bce"))
    results = list(comparison.results)
    candidate = replace(results[1].candidate, name=name)
    results[1] = replace(results[1], candidate=candidate)
    difference = replace(comparison.differences[0], second=name)
    return replace(comparison, results=tuple(results), differences=(difference,))


def cells(line: str, between: str) -> list[str]:
    return [cell.strip() for cell in re.split(rf"(?<!\\){re.escape(between)}", line)]


def test_markdown_has_a_row_for_each_candidate():
    comparison = comparison_of()
    lines = markdown(comparison, ABOUT).splitlines()
    assert lines[0] == (
        "| loss | learning rate | mAP@class | mAP@sample | mAP@class to the best | adjusted p |"
    )
    assert lines[1] == "| :-- | --: | --: | --: | --: | --: |"
    assert lines[5] == ""
    best = comparison.results[0]
    mean, deviation = best.map_class.mean, best.map_class.std
    assert deviation is not None
    assert cells(lines[2], "|")[1:4] == [
        "two-way",
        "0.01",
        f"**{100 * mean:.2f} ± {100 * deviation:.2f}**",
    ]
    gap = comparison.differences[0].map_class
    assert cells(lines[3], "|")[5:7] == [
        f"**−{100 * gap.value:.2f} [−{100 * gap.high:.2f}, −{100 * gap.low:.2f}]**",
        f"{gap.adjusted_p:.3f}",
    ]
    assert lines[6] == "± is the standard deviation over 2 seeds."


def test_latex_has_a_row_for_each_candidate():
    comparison = comparison_of()
    lines = latex(comparison, ABOUT).splitlines()
    assert lines[:2] == ["% Losses on a_b c", "% twl compare 'a b'"]
    table = [line for line in lines if not line.startswith("%")]
    assert table[:2] == [r"\begin{tabular}{lrrrrr}", r"\toprule"]
    assert table[-2:] == [r"\bottomrule", r"\end{tabular}"]
    best = comparison.results[0].map_class
    assert best.std is not None
    assert cells(table[4].removesuffix(r"\\"), "&")[:3] == [
        "two-way",
        "$0.01$",
        rf"$\mathbf{{{100 * best.mean:.2f} \pm {100 * best.std:.2f}}}$",
    ]
    gap = comparison.differences[0].map_class
    bounds = rf"[-{100 * gap.high:.2f}, -{100 * gap.low:.2f}]"
    assert cells(table[5], "&")[4] == rf"$\mathbf{{-{100 * gap.value:.2f}\ {bounds}}}$"
    body = [line for line in table if "&" in line]
    assert all(len(cells(line, "&")) == 6 and line.endswith(r" \\") for line in body)
    assert all(ord(letter) < 128 for line in body for letter in line)


@pytest.mark.parametrize(
    ("name", "in_markdown", "in_latex"),
    [
        ("a_b=1 50% &c", r"a\_b=1 50% \&c", r"a\_b=1 50\% \&c"),
        ("<b>|x|</b>", r"\<b\>\|x\|\</b\>", r"\textless{}b\textgreater{}\textbar{}x\textbar{}"),
        ("$x^2$ ~ #{}", r"\$x^2\$ \~ #{}", r"\$x\textasciicircum{}2\$ \textasciitilde{} \#\{\}"),
        ("a\\b\nc", r"a\\b c", r"a\textbackslash{}b c"),
        ("*[l](x)* `c`", r"\*\[l\](x)\* \`c\`", "*[l](x)* `c`"),
    ],
)
def test_names_are_text(name, in_markdown, in_latex):
    comparison = ugly(name)
    row = markdown(comparison, ABOUT).splitlines()[3]
    assert cells(row, "|")[1] == in_markdown
    assert len(cells(row, "|")) == 8
    assert in_latex in latex(comparison, ABOUT).splitlines()[-3]


def test_rates_with_a_power_of_ten():
    comparison = comparison_of(("bce",))
    small = replace(comparison.results[0], chosen=0.00003)
    row = latex(replace(comparison, results=(small,)), ABOUT).splitlines()[-3]
    assert r"$3\cdot 10^{-5}$" in row


def test_one_candidate_has_neither_pairs_nor_a_best():
    alone = comparison_of(("bce",), seeds=1)
    table = markdown(alone, ABOUT)
    assert table.splitlines()[0] == "| loss | learning rate | mAP@class | mAP@sample |"
    assert "**" not in table
    assert r"\mathbf" not in latex(alone, ABOUT)


def test_a_dry_run_says_so_in_both():
    about = replace(ABOUT, limit=20)
    for text in (markdown(comparison_of(), about), latex(comparison_of(), about)):
        assert "A dry run on at most 20 training and 20 validation images" in text

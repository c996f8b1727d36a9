"""Evaluations for the tests: drawn scores of small pictures that lie on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from tests.scoring.drawn import draw_logits
from twlcli.annotations.annotations import Annotations
from twlcli.inference.scored import ScoredImages
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import ModelSpec
from twlcli.report.evaluated import Evaluated
from twlcli.scoring.evaluation import score, with_cross_fit, with_intervals
from twlcli.scoring.fit import fit

IMAGES = tuple(f"{number:03}.png" for number in range(80))
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "a\"b'c&amp;",
    "\u202egnp.exe",
    "line\nbreak\x1b[31m",
    "日本" + "x" * 9_998,
)


def evaluated_of(
    folder: Path,
    labels: Sequence[str] = ("cat", "dog", "bird", "car", "tree", "sky"),
    *,
    images: Sequence[str] = IMAGES,
    unknown: float = 0.1,
    written: bool = True,
    threshold: str | float | None = None,
) -> Evaluated:
    """The evaluation of images in a folder, which are made where `written`."""
    logits, targets = draw_logits(images=len(images), labels=len(labels), unknown=unknown)
    annotations = Annotations(
        source=folder / "labels.csv",
        format="csv",
        root=folder,
        images=tuple(images),
        labels=LabelMatrix.from_dense(targets),
        vocabulary=Vocabulary(tuple(labels)),
        splits=("",) * len(images),
    )
    if written:
        for number, name in enumerate(images):
            colour = (3 * number % 256, 7 * number % 256, 90)
            Image.new("RGB", (24, 16), colour).save(folder / name, "PNG")
    spec = ModelSpec(annotations.vocabulary, "drawn", Preprocessing(resize=16, crop=12))
    spec = fit(logits, targets, spec)
    scored = ScoredImages(tuple(annotations.images), logits, targets)
    scores, decisions = with_cross_fit(
        score(scored, spec, threshold=threshold), scored, spec, threshold=threshold
    )
    evaluation = replace(
        with_intervals(scores, scored, decisions),
        data=str(annotations.source),
        split="val",
    )
    return Evaluated("model.onnx", evaluation, scored, spec, annotations)

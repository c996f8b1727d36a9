"""Tags made of scores on disk, at other thresholds or by other rules: `twl retag` as a function."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError
from twlcli.images.image_file import ImageFile
from twlcli.io import check_count, check_free, discard_partial, listed, partial_path
from twlcli.model.decisions import (
    calibration_of,
    given_in_rows,
    never_given_note,
    probabilities,
    threshold_file,
    thresholds_of,
    wish_beside,
    wish_text,
)
from twlcli.scoring.score_table import StoredScores, open_scores
from twlcli.tagging.chunks import Item
from twlcli.tagging.outputs.fan_out import FanOut, open_outputs
from twlcli.tagging.outputs.output import Output, RunFacts
from twlcli.tagging.outputs.tables import needs_images, table
from twlcli.tagging.tag_rules import TagRules
from twlcli.tagging.tags import Tags


@dataclass(frozen=True)
class Retagged:
    """What was written.

    Attributes:
        images: how many images have tags, or none, in every table.
        seconds: that it took.
        never_given: which labels no probability reaches the threshold of, in words; or empty.
    """

    images: int
    seconds: float
    never_given: str


def retag(
    scores: Path | str,
    outputs: Sequence[Output | Path | str],
    *,
    threshold: str | float | None = None,
    top_k: int | None = None,
    rules: Path | str | None = None,
    force: bool = False,
) -> Retagged:
    """Make tags of the scores that a run has kept, without its model and without its images.

    The tags are those that `tag_files` would have written with the same threshold, top k and rules.

    Args:
        scores: what `twlcli.outputs.ScoreTable` has written.
        outputs: tables of tags: paths that end in `.csv`, `.jsonl` or `.parquet`, or `Csv`,
            `Jsonl`, `Parquet`, `LabelStudio`, `LabelStudioConfig` and `FiftyOne`. Sidecars and
            pages need the images.
        threshold: as for `tag_files`.
        top_k: at most this many labels, the most probable; without a threshold, exactly this many.
        rules: a TOML file of tag rules; see `TagRules`.
        force: replace output files that exist.

    Raises:
        TwlError: the scores, an output, threshold or rule is wrong, or a file cannot be written.
        ModelError: the model had no such thresholds.
        MissingExtraError: pyarrow is not installed.
    """
    start = time.perf_counter()
    check_count("top_k", top_k)
    path = Path(scores)
    written = [
        table(Path(each)) if isinstance(each, Path | str) else each for each in listed(outputs)
    ]
    read = [Path(each) for each in (path, rules, threshold_file(wish_text(threshold))) if each]
    files = _checked(written, read, force=force)
    wish = wish_beside(threshold, top_k)
    with open_scores(path) as stored:
        spec = stored.spec
        tag_rules = None if rules is None else TagRules.read(Path(rules), spec.vocabulary)
        names = spec.vocabulary if tag_rules is None else tag_rules.vocabulary
        facts = RunFacts(names, lambda: stored.model, force, spec=spec)
        never_given = "" if wish is None else never_given_note(spec, wish)
        thresholds = None if wish is None else thresholds_of(spec, wish)
        try:
            with open_outputs(written, facts, rules=tag_rules) as opened:
                _tag(path, stored, opened, thresholds, top_k)
                images = opened.tally(0.0).tagged
        except BaseException:
            for file in files:
                discard_partial(file)  # nothing goes on from it
            raise
    return Retagged(images, time.perf_counter() - start, never_given)


def _checked(outputs: Sequence[Output], read: Sequence[Path], *, force: bool) -> list[Path]:
    """The files to write; raise TwlError where one cannot be written, or is needed twice."""
    if not outputs:
        raise TwlError("nothing to write; expected a table")
    if any(map(needs_images, outputs)):
        raise TwlError("scores can be made tables alone; sidecars and pages need the images")
    files = [output.file for output in outputs if output.file is not None]
    taken, needed = {each.resolve() for each in read}, set[Path]()
    for file in files:
        names = {file.resolve(), partial_path(file).resolve()}
        if names & needed:
            raise TwlError(f"{file}: two outputs name the same file")
        if names & taken:
            raise TwlError(f"{file}: is read by this run, and cannot be an output")
        needed |= names
        check_free(file, force=force)
    return files


def _tag(
    path: Path,
    stored: StoredScores,
    outputs: FanOut,
    thresholds: NDArray[np.float32] | None,
    top_k: int | None,
) -> None:
    calibration, labels = calibration_of(stored.spec), stored.spec.vocabulary.names
    for names, logits in stored.batches:
        given = given_in_rows(probabilities(logits, calibration), thresholds, top_k)
        for name, (columns, values) in zip(names, given, strict=True):
            tags = Tags(name, tuple([labels[column] for column in columns]), tuple(values))
            outputs.take(Item(ImageFile(path, name)), tags)

"""Tags made of scores on disk, at other thresholds or by other rules: `twl retag` as a function."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError
from twlcli.images.image_file import IMAGE_SUFFIXES, Failure, ImageFile, suffix_of
from twlcli.images.kinds import KIND_OF_SUFFIX
from twlcli.io import check_count, check_free, discard_partial, listed, partial_path, place_of
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
from twlcli.tagging.outputs.fan_out import Tally, open_outputs
from twlcli.tagging.outputs.output import Output, RunFacts
from twlcli.tagging.outputs.scores import ScoreTable
from twlcli.tagging.outputs.tables import needs_images, table
from twlcli.tagging.tag_rules import TagRules
from twlcli.tagging.tags import Tags


@dataclass(frozen=True)
class Retagged:
    """What was written.

    Attributes:
        tally: how many images were tagged and how many failed, and what was written beside them.
        never_given: which labels no probability reaches the threshold of, in words; or empty.
    """

    tally: Tally
    never_given: str

    @property
    def images(self) -> int:
        """How many images have tags, or none, in every table."""
        return self.tally.tagged

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.tally.seconds


def retag(
    scores: Path | str,
    outputs: Sequence[Output | Path | str],
    *,
    images: Path | str | None = None,
    threshold: str | float | None = None,
    top_k: int | None = None,
    rules: Path | str | None = None,
    force: bool = False,
    on_failure: Callable[[Failure], None] = lambda failure: None,
    progress: Callable[[Tally, int], None] = lambda tally, total: None,
) -> Retagged:
    """Make tags of the scores that a run has kept, without its model and without its images.

    The tags are those that `tag_files` would have written with the same threshold, top k and rules.
    Where the images are at hand, tags can be written beside them and into a page too; none goes
    through a model, and one that is not there any more is a failure, which tables leave out.

    Args:
        scores: what `twlcli.outputs.ScoreTable` has written.
        outputs: tables of tags: paths that end in `.csv`, `.jsonl` or `.parquet`, or `Csv`,
            `Jsonl`, `Parquet`, `LabelStudio`, `LabelStudioConfig` and `FiftyOne`; with `images`
            also sidecars, `Gallery`, `Review` and `FailureTable`.
        images: the folder that the names of the images are relative to; nothing is written outside
            of it.
        threshold: as for `tag_files`.
        top_k: at most this many labels, the most probable; without a threshold, exactly this many.
        rules: a TOML file of tag rules; see `TagRules`.
        force: replace output files that exist.
        on_failure: told of each image that is not there, or that not every output could take.
        progress: told now and then how far it has come, and how many images there are.

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
    folder = None if images is None else _folder(Path(images))
    read = [Path(each) for each in (path, rules, threshold_file(wish_text(threshold))) if each]
    files = _checked(written, read, force=force, without_images=folder is None)
    wish = wish_beside(threshold, top_k)
    with open_scores(path) as stored:
        spec = stored.spec
        tag_rules = None if rules is None else TagRules.read(Path(rules), spec.vocabulary)
        names = spec.vocabulary if tag_rules is None else tag_rules.vocabulary
        facts = RunFacts(names, lambda: stored.model, force, spec=spec)
        never_given = "" if wish is None else never_given_note(spec, wish)
        thresholds = None if wish is None else thresholds_of(spec, wish)
        try:
            with open_outputs(written, facts, rules=tag_rules, on_failure=on_failure) as opened:
                for batch in _batches(stored, thresholds, top_k):
                    for tags in batch:
                        file = _image(tags.image, folder, path)
                        if folder is not None:
                            _check_no_output(file, files)
                        reason = file.failure
                        row = tags if reason is None else Failure(file.name, reason)
                        opened.take(Item(file), row)
                    progress(opened.tally(time.perf_counter() - start), stored.images)
        except BaseException:
            for each in files:
                discard_partial(each)  # nothing goes on from it
            raise
    return Retagged(opened.tally(time.perf_counter() - start), never_given)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise TwlError(f"{path}: no such folder; expected the one with the images")
    return Path(os.path.abspath(path))  # noqa: PTH100  as scans name files: links stay


def _checked(
    outputs: Sequence[Output], read: Sequence[Path], *, force: bool, without_images: bool
) -> list[Path]:
    """The files to write; raise TwlError where one cannot be written, or is needed twice."""
    if not outputs:
        raise TwlError("nothing to write; expected a table")
    if any(isinstance(each, ScoreTable) for each in outputs):
        raise TwlError("scores are not made of scores; expected other outputs")
    if without_images and any(map(needs_images, outputs)):
        raise TwlError(
            "scores alone can be made tables; sidecars and pages need the images",
            hint="{images} names their folder",
        )
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


def _check_no_output(file: ImageFile, outputs: Sequence[Path]) -> None:
    """Raise TwlError for an image that would be replaced."""
    for path in outputs:
        if path.name == file.path.name and place_of(path) == place_of(file.path):
            raise TwlError(f"{path}: is an image of this run, and cannot be an output")


def _image(name: str, folder: Path | None, scores: Path) -> ImageFile:
    """The file of that name, or why there is none; without a folder nobody asks for its place.

    Scores may be anybody's, and so may the names in them: what is written beside an image stays in
    the folder given, and beside what is called as images are.
    """
    if folder is None:
        return ImageFile(scores, name)
    path = Path(os.path.normpath(folder / name))
    suffix, failure = suffix_of(name), None
    if not path.is_relative_to(folder):
        failure = f"its name leads out of {folder}"
    elif suffix not in IMAGE_SUFFIXES and suffix not in KIND_OF_SUFFIX:
        failure = "its name is not that of an image"
    elif not path.is_file():
        failure = f"no such file in {folder}"
    return ImageFile(path, name, failure, folders=(folder,))


def _batches(
    stored: StoredScores, thresholds: NDArray[np.float32] | None, top_k: int | None
) -> Iterator[Iterator[Tags]]:
    """The tags of all images, some at a time."""
    calibration, labels = calibration_of(stored.spec), stored.spec.vocabulary.names
    for names, logits in stored.batches:
        given = given_in_rows(probabilities(logits, calibration), thresholds, top_k)
        yield (
            Tags(name, tuple([labels[column] for column in columns]), tuple(values), row)
            for name, row, (columns, values) in zip(names, logits, given, strict=True)
        )

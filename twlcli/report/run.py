"""Evaluating a model: what `twl eval` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import AnnotationError, TwlError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.inference.scored import ScoredImages
from twlcli.io import check_count, check_free, check_not_read
from twlcli.model.spec import ModelSpec
from twlcli.report.evaluated import Evaluated
from twlcli.runs.labelled import Labelled, open_labelled
from twlcli.runs.seen import hashes_of, seen_among
from twlcli.scoring.evaluation import (
    Evaluation,
    check_scorable,
    score,
    with_cross_fit,
    with_intervals,
)
from twlcli.scoring.scores_file import check_suffix, write_scores
from twlcli.scoring.source import Running, open_source


def evaluate(
    model: Path | str,
    data: Path | str | None = None,
    *,
    split: str | None = None,
    threshold: str | float | None = None,
    splits: Path | str | None = None,
    ignore_unknown_labels: bool = False,
    scores: Path | str | None = None,
    report: Path | str | None = None,
    force: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    exact: bool = False,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    provider: str | None = None,
    device: str | None = None,
    allow_code: bool = False,
    watcher: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
    **options: Unpack[ReadKeywords],
) -> Evaluation:
    """Measure a model on labelled images: mAP, precision, recall, F1 and calibration.

    Images that cannot be read are left out of the scores and listed in the result.

    Args:
        model: an exported `.onnx`, a run folder, a `.safetensors` checkpoint, or what
            `twlcli.outputs.ScoreTable` has written of a model: then no image is read, and those
            without scores are listed as unreadable.
        data: a label file or folder; None for what the run was trained on.
        split: a split of the data, or `all`; None for the run's validation split, of data for
            `val`, and for all where there are no splits.
        threshold: see `decisions.thresholds_of`.
        splits: a run folder, or a table of image and split: the split to use.
        ignore_unknown_labels: leave out labels of the data that the model does not know. Those of
            the model that the data do not know are always left out, with a note.
        scores: a `.csv` or `.npz` file for the scores of every image; see `write_scores`.
        report: an HTML file to look at the scores and the mistakes; see `write_report`.
        force: replace `scores` and `report` if they exist.
        batch_size: images in one call of the model; None for what suits the device.
        workers: batches decoded and predicted in parallel; None for one per core.
        exact: decode JPEG at full size: slower, and scores barely change.
        max_pixels: refuse larger images, of JPEG by the size that is decoded; None is 178,956,970.
        accept_damaged: take what can be read of a damaged image.
        provider: the execution provider of an `.onnx`.
        device: the device of a run or checkpoint.
        allow_code: import a backbone `module:function` that a run or checkpoint names.
        watcher: called with the number of images; returns a context manager whose value is called
            with the number of images done since the last call.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        TwlError: the threshold, the file of scores or that of the report is wrong.
        ModelError: the model cannot be loaded or run.
        AnnotationError: the data cannot be read, or none of its images.
        MissingExtraError: a run or checkpoint without the `train` extra.
    """
    check_count("batch_size", batch_size)
    check_count("workers", workers)
    check_count("max_pixels", max_pixels)
    read = (model, data, options.get("corrections"), options.get("names"))
    _check_outputs(scores, report, read, force=force)
    if data is not None and not Path(data).exists():
        raise AnnotationError(f"{data}: no such file or folder")
    decoding = Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged)
    running = Running(batch_size, workers, decoding, provider, device, allow_code, watcher)
    with open_source(Path(model), running) as source:
        spec = source.spec
        check_scorable(spec, threshold)
        labelled = open_labelled(
            Path(model),
            data,
            split,
            spec.vocabulary,
            ReadOptions(**options),
            splits=splits,
            ignore_unknown_labels=ignore_unknown_labels,
        )
        scored = source.score(labelled.annotations)
    evaluation = measured(scored, spec, labelled, threshold)[0]
    if scores is not None:
        write_scores(scored, spec, Path(scores))
    if report is not None:
        from twlcli.report.page import write_report  # templates, which nothing else here needs

        write_report(
            Evaluated(str(model), evaluation, scored, spec, labelled.annotations),
            Path(report),
            decoding=decoding,
            workers=workers,
        )
    return evaluation


def _check_outputs(
    scores: Path | str | None,
    report: Path | str | None,
    read: Sequence[Path | str | None],
    *,
    force: bool,
) -> None:
    """Raise TwlError where a file cannot be written, as far as that is known beforehand."""
    for path in (scores, report):
        if path is not None:
            check_not_read(Path(path), read)
    if scores is not None:
        check_suffix(Path(scores))
        check_free(Path(scores), force=force)
    if report is not None:
        check_free(Path(report), force=force)
        if scores is not None and Path(scores).absolute() == Path(report).absolute():
            raise TwlError(f"{report}: is wanted both for the scores and for the report")


def measured(
    scored: ScoredImages, spec: ModelSpec, labelled: Labelled, threshold: str | float | None
) -> tuple[Evaluation, NDArray[np.bool_]]:
    """All scores, with intervals and with what is known of where the images come from.

    Returns:
        The evaluation, and the decisions (N, C) of its intervals: those at the thresholds,
        cross-fitted where these were fitted to the images.
    """
    seen = seen_among(spec.provenance, hashes_of(labelled.annotations))
    evaluation = replace(
        score(scored, spec, threshold=threshold),
        notes=labelled.annotations.notes,
        trained_on=seen.training,
        fitted_on=seen.fitted,
        data=str(labelled.annotations.source),
        split=labelled.split,
    )
    evaluation, decisions = with_cross_fit(evaluation, scored, spec, threshold=threshold)
    return with_intervals(evaluation, scored, decisions), decisions

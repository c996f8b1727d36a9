"""Evaluating a model: what `twl eval` does, as a function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import AnnotationError, TwlError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.io import check_count, check_free
from twlcli.model.load import load_predictor
from twlcli.model.spec import ModelSpec
from twlcli.report.evaluated import Evaluated
from twlcli.runs.labelled import Labelled, open_labelled
from twlcli.runs.seen import hashes_of, seen_among
from twlcli.scoring.evaluation import Evaluation, check_scorable, score, with_intervals
from twlcli.scoring.score_table import is_score_table, open_scores
from twlcli.scoring.scores_file import check_suffix, write_scores
from twlcli.scoring.stored import scores_of


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
    _check_outputs(scores, report, force=force)
    if data is not None and not Path(data).exists():
        raise AnnotationError(f"{data}: no such file or folder")
    decoding = Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged)

    def labelled_for(spec: ModelSpec) -> Labelled:
        check_scorable(spec, threshold)
        return open_labelled(
            Path(model),
            data,
            split,
            spec.vocabulary,
            ReadOptions(**options),
            splits=splits,
            ignore_unknown_labels=ignore_unknown_labels,
        )

    if is_score_table(Path(model)) and not Path(model).is_dir():
        for name, value in {"provider": provider, "device": device}.items():
            if value is not None:
                raise TwlError(f"{model}: no model runs, and {name} has no meaning")
        with open_scores(Path(model)) as stored:
            spec = stored.spec
            labelled = labelled_for(spec)
            scored = scores_of(labelled.annotations, stored, Path(model))
    else:
        predictor = load_predictor(
            Path(model), provider=provider, device=device, allow_code=allow_code
        )
        spec = predictor.spec
        labelled = labelled_for(spec)
        with nullcontext() if watcher is None else watcher(len(labelled.annotations)) as progress:
            scored = score_images(
                predictor,
                labelled.annotations,
                batch_size=batch_size,
                workers=workers,
                decoding=decoding,
                progress=progress,
            )
    evaluation = _measured(scored, spec, labelled, threshold)
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


def _check_outputs(scores: Path | str | None, report: Path | str | None, *, force: bool) -> None:
    """Raise TwlError where a file cannot be written, as far as that is known beforehand."""
    if scores is not None:
        check_suffix(Path(scores))
        check_free(Path(scores), force=force)
    if report is not None:
        check_free(Path(report), force=force)
        if scores is not None and Path(scores).absolute() == Path(report).absolute():
            raise TwlError(f"{report}: is wanted both for the scores and for the report")


def _measured(
    scored: ScoredImages, spec: ModelSpec, labelled: Labelled, threshold: str | float | None
) -> Evaluation:
    """All scores, with intervals and with what is known of where the images come from."""
    seen = seen_among(spec.provenance, hashes_of(labelled.annotations))
    evaluation = replace(
        score(scored, spec, threshold=threshold),
        notes=labelled.annotations.notes,
        trained_on=seen.training,
        fitted_on=seen.fitted,
        data=str(labelled.annotations.source),
        split=labelled.split,
    )
    return with_intervals(evaluation, scored, spec, threshold=threshold)

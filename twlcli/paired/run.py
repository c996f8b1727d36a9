"""Evaluating several models on the same images: what `twl eval A B DATA` does, as a function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.io import check_count, check_free, check_not_read
from twlcli.model.bundled import model_path
from twlcli.model.spec import ModelSpec
from twlcli.paired.disagreement import disagreement_of
from twlcli.paired.draws import ScoredModel
from twlcli.paired.images import CommonImages, common_images
from twlcli.paired.labels import common_labels, of_common_labels, spec_of_labels
from twlcli.paired.names import short_names
from twlcli.paired.result import ModelDifference, PairedEvaluation
from twlcli.paired.statistics import compare_models
from twlcli.report.run import measured
from twlcli.runs.labelled import Labelled, open_labelled
from twlcli.scoring.evaluation import check_scorable
from twlcli.scoring.score_table import is_score_table
from twlcli.scoring.source import Running, Watcher, open_source


def evaluate_models(
    models: Sequence[Path | str],
    data: Path | str | None = None,
    *,
    split: str | None = None,
    threshold: str | float | None = None,
    splits: Path | str | None = None,
    ignore_unknown_labels: bool = False,
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
    watcher: Watcher | None = None,
    **options: Unpack[ReadKeywords],
) -> PairedEvaluation:
    """Measure two or more models on the same images, and say which differences are real.

    All are scored on the images that all could read, and on the labels that all know; what is left
    out is named in the notes. Differences are to the first model. Their intervals come from drawing
    the images with replacement, the same for all models.

    Args:
        models: two or more of what `evaluate` takes; the first is the baseline.
        data: a label file or folder; None for what the first run was trained on.
        split: as of `evaluate`.
        threshold: for all models, see `decisions.thresholds_of`; each has thresholds of its own.
        splits: as of `evaluate`.
        ignore_unknown_labels: leave out labels of the data that no model knows. Those that only
            some of the models know are always left out, with a note.
        report: an HTML file to look at the differences; see `paired.page.write_page`.
        force: replace `report` if it exists.
        batch_size: as of `evaluate`, like all that follow.
        workers: batches decoded and predicted in parallel.
        exact: decode JPEG at full size.
        max_pixels: refuse larger images.
        accept_damaged: take what can be read of a damaged image.
        provider: the execution provider of those that are an `.onnx`.
        device: the device of runs and checkpoints.
        allow_code: import a backbone `module:function` that a run or checkpoint names.
        watcher: called for each model that runs.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        TwlError: fewer than two models, no label in common, or the threshold or the report is
            wrong.
        ModelError: a model cannot be loaded or run.
        AnnotationError: the data cannot be read, or no image by all models.
        MissingExtraError: a run or checkpoint without the `train` extra.
    """
    if isinstance(models, str | Path) or len(models) < 2:
        raise TwlError("expected two or more models to compare; evaluate measures one")
    check_count("batch_size", batch_size)
    check_count("workers", workers)
    check_count("max_pixels", max_pixels)
    if report is not None:
        check_not_read(Path(report), (*models, data, options.get("corrections")))
        check_free(Path(report), force=force)
    if data is not None and not Path(data).exists():
        raise AnnotationError(f"{data}: no such file or folder")
    decoding = Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged)
    running = Running(batch_size, workers, decoding, provider, device, allow_code, watcher)
    paths, names = [Path(each) for each in models], short_names([str(each) for each in models])
    with ExitStack() as stack:
        sources = [
            stack.enter_context(open_source(path, own))
            for path, own in zip(paths, _running_each(paths, running), strict=True)
        ]
        labels = common_labels([source.spec for source in sources], names)
        specs = [spec_of_labels(source.spec, labels.shared) for source in sources]
        for path, spec in zip(paths, specs, strict=True):
            with _errors_of(path):
                check_scorable(spec, threshold)
        labelled = open_labelled(
            next((path for path in paths if path.is_dir()), paths[0]),
            data,
            split,
            labels.all,
            ReadOptions(**options),
            splits=splits,
            ignore_unknown_labels=ignore_unknown_labels,
            whose="the models'",
        )
        labelled = of_common_labels(labelled, labels)
        common = common_images(
            labelled.annotations,
            [source.score for source in sources],
            [source.spec for source in sources],
        )
    labelled = replace(labelled, annotations=common.annotations)
    scored = _scored_models(common, paths, specs, labelled, threshold)
    named = [str(each) for each in models]
    paired = paired_evaluation(named, names, scored, common, labelled, threshold)
    if report is not None:
        from twlcli.paired.page import write_page  # templates, which nothing else here needs

        write_page(paired, scored[0].spec, common.annotations, Path(report), running=running)
    return paired


@contextmanager
def _errors_of(model: Path) -> Iterator[None]:
    """A ModelError of the block says which of several models it is of."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error


def _running_each(paths: Sequence[Path], running: Running) -> list[Running]:
    """What each model is run by: what is said of one kind of models is not said of the others.

    Where there is none of that kind, it is said of all, which then refuse it.
    """
    stored = [is_score_table(path) and not path.is_dir() for path in paths]
    onnx = [model_path(path).suffix.lower() == ".onnx" for path in paths]
    torch = [not (a or b) for a, b in zip(stored, onnx, strict=True)]
    return [
        replace(
            running,
            provider=running.provider if onnx[place] or not any(onnx) else None,
            device=running.device if torch[place] or not any(torch) else None,
        )
        for place in range(len(paths))
    ]


def _scored_models(
    common: CommonImages,
    paths: Sequence[Path],
    specs: Sequence[ModelSpec],
    labelled: Labelled,
    threshold: str | float | None,
) -> list[ScoredModel]:
    found = []
    for path, scored, spec in zip(paths, common.scored, specs, strict=True):
        with _errors_of(path):
            evaluation, decisions = measured(scored, spec, labelled, threshold)
        found.append(ScoredModel(scored.logits, spec, evaluation, decisions))
    return found


def paired_evaluation(
    models: Sequence[str],
    names: Sequence[str],
    scored: Sequence[ScoredModel],
    common: CommonImages,
    labelled: Labelled,
    threshold: str | float | None,
) -> PairedEvaluation:
    """What evaluated models come to on the same images.

    Args:
        models: as they were named.
        names: short ones, each once.
        scored: the models.
        common: the images, without what each said of them.
        labelled: likewise, with the name of their split.
        threshold: see `decisions.thresholds_of`.
    """
    annotations, vocabulary = labelled.annotations, scored[0].spec.vocabulary
    unlisted = set(annotations.unlisted)
    columns = np.array([c for c, label in enumerate(vocabulary) if label not in unlisted])
    differences = compare_models(scored, common.targets)
    return PairedEvaluation(
        tuple(models),
        tuple(names),
        tuple(each.evaluation for each in scored),
        tuple(
            ModelDifference(
                name,
                scores,
                by_label,
                disagreement_of(
                    scored[0],
                    other,
                    annotations.images,
                    common.targets,
                    columns,
                    threshold=threshold,
                ),
            )
            for name, other, scores, by_label in zip(
                names[1:], scored[1:], differences.scores, differences.labels, strict=True
            )
        ),
        tuple(vocabulary.names[column] for column in columns),
        str(annotations.source),
        labelled.split,
        len(annotations),
        differences.resamples,
        tuple(each for each in (*annotations.notes, common.note) if each),
        common.unreadable,
    )

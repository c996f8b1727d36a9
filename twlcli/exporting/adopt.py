"""A model of another program as one of twl's: one ONNX file that carries its spec."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from twlcli.annotations.read_options import ReadKeywords, ReadOptions
from twlcli.annotations.stated import stated_of
from twlcli.errors import AnnotationError, ModelError
from twlcli.exporting.decision_graph import finish
from twlcli.exporting.onnx import check_out, checked_images, replacing_model
from twlcli.images.image_file import Failure
from twlcli.inference.scored import score_images
from twlcli.io import check_count
from twlcli.labels import PRESENT
from twlcli.model.bundled import model_path
from twlcli.model.foreign.form import SURE, Form
from twlcli.model.foreign.predictor import ForeignPredictor
from twlcli.model.load import load_onnx
from twlcli.model.onnx import OnnxPredictor
from twlcli.model.onnx_writer import save
from twlcli.model.spec import ModelSpec
from twlcli.runs.labelled import open_labelled
from twlcli.runs.seen import SEEN_KEY, hashes_of, sample_of
from twlcli.scoring.evaluation import epoch_scores
from twlcli.scoring.fit import fit

_LEAST_OPSET = 11  # Clip takes its bounds as inputs since then
_TOLERANCE = 1e-3  # of a probability: what is computed in another order
_OWN = "twl/"  # begins the names of what is added to the graph
_THEIRS = "model/"


@dataclass(frozen=True)
class Adopted:
    """What `adopt` has written.

    Attributes:
        path: the file.
        spec: what it carries.
        images: how many images calibration and thresholds were fitted to; 0 where they are those
            of the other program.
        unreadable: images that could not be read, and are among neither.
    """

    path: Path
    spec: ModelSpec
    images: int
    unreadable: tuple[Failure, ...]


def adopt(
    source: Path | str,
    out: Path | str,
    *,
    labels: Path | str | None = None,
    input: str | None = None,  # noqa: A002  as the command has it
    calibrate: Path | str | None = None,
    split: str | None = None,
    ignore_unknown_labels: bool = False,
    force: bool = False,
    workers: int | None = None,
    watcher: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
    **options: Unpack[ReadKeywords],
) -> Adopted:
    """Write a model of another program as one of twl's, with thresholds fitted to your own images.

    What prepares images and turns the output into logits becomes a part of the graph, so that the
    file takes uint8 images as every model of twl does, and everything works with it. It is run
    beside the other one before it is kept.

    Args:
        source: a folder or `.onnx` file of another program; see `load_model`.
        out: the `.onnx` file to write.
        labels: a file of the labels' names in the order of the outputs, for a model of which
            nothing is known; see `label_names.LabelNames`.
        input: how images go into it, such as `nchw,rgb,imagenet`; see `foreign.stated`.
        calibrate: labelled images that the model was not trained on, to which calibration and
            thresholds are fitted.
        split: of these: a split, or `all`; None is `val`, or all where there are no splits.
        ignore_unknown_labels: leave out labels of the data that the model does not know.
        force: replace `out` if it exists.
        workers: threads that decode and predict; None is one for each core.
        watcher: told how many images there are; gives a context whose value is told how many more
            of them are done.
        options: how the data are read, with the keywords of `read_labels`.

    Raises:
        ModelError: nothing is known of the model, it is twl's own, takes images in fixed numbers
            only, or what was written gives something else.
        AnnotationError: the data cannot be read, or have no labels.
        TwlError: the file exists or cannot be written, or an option has no meaning.
    """
    check_count("workers", workers)
    source, out = model_path(source), Path(out)
    check_out(out, force=force)
    predictor = _open(source, labels, input)
    if not predictor.takes_any_number:
        raise ModelError(
            f"{predictor.path}: takes a fixed number of images at once; export it again with any"
        )
    spec, images = predictor.spec, 0
    unreadable: tuple[Failure, ...] = ()
    if calibrate is not None:
        labelled = open_labelled(
            source,
            calibrate,
            split,
            spec.vocabulary,
            ReadOptions(**options),
            ignore_unknown_labels=ignore_unknown_labels,
        )
        data = labelled.annotations
        with nullcontext() if watcher is None else watcher(len(data)) as progress:
            scored = score_images(predictor, data, workers=workers, progress=progress)
        if not (scored.targets == PRESENT).any():
            raise AnnotationError(f"{data.source}: none of the images that can be read has a label")
        images, unreadable = len(scored.images), scored.unreadable
        provenance = {
            **spec.provenance,
            "validation": epoch_scores(scored),
            SEEN_KEY: {"fitted": sample_of(hashes_of(data))},
        }
        spec = replace(fit(scored.logits, scored.targets, spec), provenance=provenance)
    with replacing_model(out, force=force) as temporary:
        _write(predictor, spec, temporary)
        _check(predictor, temporary)
    return Adopted(out, spec, images, unreadable)


def _open(source: Path, labels: Path | str | None, form: str | None) -> ForeignPredictor:
    predictor = load_onnx(source, provider="cpu", threads=0, stated=stated_of(labels, form))
    if isinstance(predictor, OnnxPredictor):
        raise ModelError(f"{source}: is a model of twl already")
    return predictor


def _write(predictor: ForeignPredictor, spec: ModelSpec, out: Path) -> None:
    """Write the graph with what prepares images before it, and what makes logits after it."""
    model = onnx.load(predictor.path)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < _LEAST_OPSET:
        raise ModelError(f"{predictor.path}: is of opset {opset}; expected {_LEAST_OPSET} or later")
    kind = next(
        each.type.tensor_type.elem_type
        for each in model.graph.input
        if each.name == predictor.ends[0]
    )
    model = compose.add_prefix(model, _THEIRS)
    taken, given = (_THEIRS + name for name in predictor.ends)
    form, graph = predictor.described.form, model.graph
    side, count = spec.preprocessing.crop, len(spec.vocabulary)
    added = _Added()
    before = _preparing(added, form, spec, taken, kind)
    after = _ending(added, form, given)
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(added.constants)
    image = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", side, side, 3])
    graph.input.append(image)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", count])
    graph.output.append(logits)
    finish(model, spec)
    save(model, out)


class _Added:
    """Constants and nodes that are added to a graph, each under a name of its own."""

    def __init__(self) -> None:
        self.constants: list[TensorProto] = []

    def constant(self, values: object, kind: type = np.float32) -> str:
        """The name of an initializer with these values."""
        name = f"{_OWN}{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name


def _preparing(
    added: _Added, form: Form, spec: ModelSpec, taken: str, kind: int
) -> list[onnx.NodeProto]:
    """From `images` to the model's input, as `Form.taken` does it."""
    own = spec.preprocessing
    nodes = [
        helper.make_node("Cast", ["images"], [f"{_OWN}values"], to=TensorProto.FLOAT),
        helper.make_node("Div", [f"{_OWN}values", added.constant(255)], [f"{_OWN}unit"]),
        helper.make_node("Sub", [f"{_OWN}unit", added.constant(own.mean)], [f"{_OWN}centred"]),
        helper.make_node("Div", [f"{_OWN}centred", added.constant(own.std)], [f"{_OWN}rgb"]),
    ]
    last = f"{_OWN}rgb"
    if form.is_bgr:
        order = added.constant([2, 1, 0], np.int64)
        nodes.append(helper.make_node("Gather", [last, order], [f"{_OWN}bgr"], axis=3))
        last = f"{_OWN}bgr"
    if form.channels_first:
        nodes.append(helper.make_node("Transpose", [last], [f"{_OWN}first"], perm=[0, 3, 1, 2]))
        last = f"{_OWN}first"
    return [*nodes, helper.make_node("Cast", [last], [taken], to=kind)]


def _ending(added: _Added, form: Form, given: str) -> list[onnx.NodeProto]:
    """From the model's output to `logits`, as `Form.logits` does it."""
    single = "logits" if form.gives == "logits" else f"{_OWN}given"
    nodes = [helper.make_node("Cast", [given], [single], to=TensorProto.FLOAT)]
    if form.gives != "logits":
        last = single
        if form.gives == "classes":
            nodes.append(helper.make_node("Softmax", [last], [f"{_OWN}shares"], axis=1))
            last = f"{_OWN}shares"
        bounds = [added.constant(SURE), added.constant(1 - SURE)]
        one = added.constant(1)
        nodes += [
            helper.make_node("Clip", [last, *bounds], [f"{_OWN}certain"]),
            helper.make_node("Sub", [one, f"{_OWN}certain"], [f"{_OWN}rest"]),
            helper.make_node("Log", [f"{_OWN}certain"], [f"{_OWN}log"]),
            helper.make_node("Log", [f"{_OWN}rest"], [f"{_OWN}log_rest"]),
            helper.make_node("Sub", [f"{_OWN}log", f"{_OWN}log_rest"], ["logits"]),
        ]
    return nodes


def _check(predictor: ForeignPredictor, written: Path) -> None:
    """Raise ModelError where the file gives other probabilities than the model itself."""
    adopted = OnnxPredictor(written, provider="cpu", threads=0)
    for images in checked_images(adopted.spec):
        first, second = (
            1 / (1 + np.exp(-each(images).clip(-80, 80))) for each in (predictor, adopted)
        )
        difference = float(np.abs(first - second).max())
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"{predictor.path}: what was written differs by {difference:.2g} in "
                "probabilities; nothing was written"
            )

"""A torch network as an ONNX file that carries its spec."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from twlcli.errors import ModelError, TwlError
from twlcli.model.onnx import data_beside
from twlcli.model.spec import SPEC_KEY, ModelSpec

OPSET = 18  # what torch exports to without converting; ONNX Runtime reads it since 1.14
# To older ones nothing converts an average over axes; what comes after 25 is not finished.
OPSETS = range(OPSET, 26)
TRACED_BATCH = 2  # a batch of 1 would be taken for a constant
# Bytes of weights in one file. Protobuf ends at 2 GiB, with the graph and metadata in it.
ONE_FILE = (2 << 30) - (128 << 20)


def write_onnx(model: nn.Module, spec: ModelSpec, path: Path, outputs: Sequence[str]) -> None:
    """Write a network that takes uint8 RGB images (N, crop, crop, 3), for any N, as one ONNX file.

    Args:
        model: in evaluation mode.
        spec: goes into the file's metadata.
        path: the file.
        outputs: names of what the network gives.
    """
    side = spec.preprocessing.crop
    images = torch.zeros((TRACED_BATCH, side, side, 3), dtype=torch.uint8)
    proto = graph_of(model, images, name="images", outputs=outputs)
    set_spec(proto, spec)
    save(proto, path)


def graph_of(
    model: nn.Module, images: Tensor, *, name: str, outputs: Sequence[str], opset: int = OPSET
) -> onnx.ModelProto:
    """The graph of a network that takes any number of images, without metadata.

    Args:
        model: in evaluation mode.
        images: `TRACED_BATCH` of the kind that it takes.
        name: of the graph's input.
        outputs: names of what the network gives.
        opset: version of the operators, in `OPSETS`.

    Raises:
        TwlError: there is no such opset.
        ModelError: the network has an operator that cannot be converted to that opset.
    """
    if opset not in OPSETS:
        raise TwlError(f"opset is {opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            opset_version=opset,
            input_names=[name],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    # Where a conversion fails, the exporter keeps its own version and only warns.
    found = next(each.version for each in proto.opset_import if each.domain in ("", "ai.onnx"))
    if found != opset:
        raise ModelError(
            f"this network cannot be written in opset {opset}, only in {found}; nothing was written"
        )
    # The exporter notes for each node the source lines that it came from, with their paths.
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


def set_spec(
    model: onnx.ModelProto, spec: ModelSpec, others: Mapping[str, str] | None = None
) -> None:
    """Make the spec, the labels by themselves, and what is for others, the only metadata.

    Args:
        model: whose metadata are replaced.
        spec: goes under `twl.spec`.
        others: more keys, for other programs.
    """
    names = "\n".join(spec.vocabulary.names)
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json(), "names": names, **(others or {})})


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model as one file, or where that would be too large, with its weights beside it.

    Args:
        model: whose weights are in it; they no longer are where they went into a file of their own.
        path: the file; the weights are in one beside it that is named after it, `data_beside`.
    """
    weights = sum(
        math.prod(each.dims) * onnx.helper.tensor_dtype_to_np_dtype(each.data_type).itemsize
        for each in model.graph.initializer
    )
    data = data_beside(path)
    data.unlink(missing_ok=True)  # new weights would be written behind those that are there
    if weights <= ONE_FILE:
        onnx.save(model, path)
        return
    onnx.save(
        model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=data.name
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

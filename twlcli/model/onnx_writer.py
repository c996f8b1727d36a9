"""A torch network as an ONNX file that carries its spec."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from twlcli.model.spec import SPEC_KEY, ModelSpec

_OPSET = 18  # what torch exports to without converting; ONNX Runtime reads it since 1.14
TRACED_BATCH = 2  # a batch of 1 would be taken for a constant


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
    onnx.save(proto, path)


def graph_of(
    model: nn.Module, images: Tensor, *, name: str, outputs: Sequence[str]
) -> onnx.ModelProto:
    """The graph of a network that takes any number of images, without metadata.

    Args:
        model: in evaluation mode.
        images: `TRACED_BATCH` of the kind that it takes.
        name: of the graph's input.
        outputs: names of what the network gives.
    """
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[name],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    # The exporter notes for each node the source lines that it came from, with their paths.
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


def set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Make the spec, and the labels by themselves, the model's only metadata."""
    names = "\n".join(spec.vocabulary.names)
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json(), "names": names})


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

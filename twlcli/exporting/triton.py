"""A model in the layout of a model repository of Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

from twlcli.errors import ModelError
from twlcli.exporting.onnx import export
from twlcli.model.spec import ModelSpec

FILES = ("config.pbtxt", "1/model.onnx", "labels.txt")
NOTE = (
    "Triton resizes and cuts no images and knows no thresholds; both are in the metadata of the "
    "model, and labels come with their probabilities where a request asks for classification"
)
_MOST_IMAGES = 32  # of one call, as large as Triton makes batches; more hardly help a GPU
# Triton takes the name of the model from its folder where none is given, so it can be renamed.
_CONFIG = """\
backend: "onnxruntime"
max_batch_size: {most}
input [
  {{
    name: "images"
    data_type: TYPE_UINT8
    dims: [ {side}, {side}, 3 ]
  }}
]
output [
  {{
    name: "probabilities"
    data_type: TYPE_FP32
    dims: [ {labels} ]
    label_filename: "labels.txt"
  }}
]
dynamic_batching {{ }}
"""


def write_triton(source: Path, spec: ModelSpec, folder: Path, *, allow_code: bool) -> None:
    """Write the files of the bundle into a folder.

    Args:
        source: run folder or checkpoint.
        spec: its.
        folder: where they go; it is there, and empty.
        allow_code: import a backbone `module:function` that the checkpoint names.

    Raises:
        ModelError: a label has a line break, or as `export`.
    """
    labels = spec.vocabulary.names
    broken = next((name for name in labels if {*"\r\n"} & {*name}), None)
    if broken is not None:
        raise ModelError(
            f"{source}: label {broken!a} has a line break, and {FILES[2]} a label in each line"
        )
    (folder / FILES[1]).parent.mkdir()
    export(source, folder / FILES[1], allow_code=allow_code)
    config = _CONFIG.format(most=_MOST_IMAGES, side=spec.preprocessing.crop, labels=len(labels))
    (folder / FILES[0]).write_text(config, encoding="utf-8")
    (folder / FILES[2]).write_text("".join(f"{name}\n" for name in labels), encoding="utf-8")

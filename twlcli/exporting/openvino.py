"""The metadata that OpenVINO's `model_api` reads of an ONNX file."""

from __future__ import annotations

import re

from twlcli.model.spec import ModelSpec

PREFIX = "model_info "
_RESIZE_TYPES = {"crop": "crop", "pad": "fit_to_window_letterbox", "stretch": "standard"}
_INTERPOLATIONS = {"bilinear": "LINEAR", "bicubic": "CUBIC"}


def model_info(spec: ModelSpec) -> dict[str, str]:
    """What `model_api` has to know of a graph that takes uint8 RGB and has `margins` first.

    It applies the sigmoid to the first output, and gives the labels above one threshold. Mean and
    deviation are in the graph. Lists are words with spaces between, so a space in a label becomes
    `_`, as Intel's own tools write it.

    Args:
        spec: of the model.
    """
    preprocessing = spec.preprocessing
    values = {
        "model_type": "Classification",
        "multilabel": "True",
        "labels": " ".join(re.sub(r"\s", "_", name) for name in spec.vocabulary),
        "confidence_threshold": "0.5",
        "output_raw_scores": "False",
        "resize_type": _RESIZE_TYPES[preprocessing.fit],
        "interpolation_mode": _INTERPOLATIONS[preprocessing.interpolation],
        "pad_value": "255",
        "mean_values": "0.0 0.0 0.0",
        "scale_values": "1.0 1.0 1.0",
        "reverse_input_channels": "False",
        "orig_width": str(preprocessing.crop),
        "orig_height": str(preprocessing.crop),
    }
    return {PREFIX + key: value for key, value in values.items()}

"""A model as a folder that timm, transformers and transformers.js load."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from twlcli.errors import ModelError, needs_extra
from twlcli.exporting.model_card import model_card
from twlcli.exporting.plain_onnx import Calibrated, check_same, noise, write_plain
from twlcli.model.backbone_names import TIMM
from twlcli.model.backbones import last_layer, load_state
from twlcli.model.decisions import calibration_of, thresholds_of
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import Calibration, ModelSpec
from twlcli.model.torch import normalise, to_unit

FILES = (
    "model.safetensors",
    "config.json",
    "onnx/model.onnx",
    "onnx/model_quantized.onnx",
    "preprocessor_config.json",
    "thresholds.json",
    "README.md",
)
NOTE = (
    "what timm and transformers give is calibrated; thresholds.json has the threshold of each label"
)
_RESAMPLING = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers
_ELSEWHERE = "; expected timm:NAME, or a ResNet, ResNeXt or DenseNet of torchvision"
_CHECKED = 2  # images
_COMPARED = 8  # images of noise, of which the int8 file may give other probabilities


def write_hf(source: Path, network: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write the files of the bundle into a folder, and have timm load it.

    Args:
        source: of the network, for errors.
        network: in evaluation mode.
        spec: its, with calibration and thresholds.
        folder: where they go; it is there, and empty.

    Raises:
        ModelError: timm has no such network, its last layer cannot take the calibration, or what is
            loaded again gives something else.
        MissingExtraError: timm is not installed.
    """
    with needs_extra("a bundle for timm and transformers", "timm"):
        import timm
    calibration, side = calibration_of(spec), spec.preprocessing.crop
    network = _as_timm(source, network, spec)
    calibrated = Calibrated(network, calibration.slope, calibration.offset).eval()
    folded = _folded(source, network, calibration)
    state = {name: value.contiguous() for name, value in folded.state_dict().items()}
    try:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:  # which has the errors of files in it
        raise ModelError(f"{source}: its weights cannot be written ({error})") from error
    _write_json(folder / "config.json", _config(network, spec))
    _write_json(folder / "preprocessor_config.json", _processor(spec.preprocessing))
    thresholds = zip(spec.vocabulary, thresholds_of(spec, None).tolist(), strict=True)
    _write_json(folder / "thresholds.json", dict(thresholds))

    def images(count: int) -> Tensor:
        return normalise(to_unit(noise(count, side)), spec.preprocessing)

    with torch.random.fork_rng(devices=[]):  # new weights are drawn, and then replaced
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        found = loaded(images(_CHECKED))
    check_same(source, calibrated, images(_CHECKED), found, "what timm loads")
    (folder / "onnx").mkdir()
    write_plain(
        source,
        folded,
        folder / "onnx/model.onnx",
        images=images,
        names=("pixel_values", "logits"),
        labels=spec.vocabulary.names,
    )
    difference = _quantize(source, folder, images(_COMPARED).numpy())
    (folder / "README.md").write_text(model_card(spec, difference), encoding="utf-8")


def _quantize(source: Path, folder: Path, images: NDArray[np.float32]) -> float:
    """Write the file that transformers.js takes for `q8`: int8 weights, ranges found while it runs.

    Returns:
        The largest difference of a probability from that of the float32 file, on these images.

    Raises:
        ModelError: it gives numbers that are not finite.
    """
    whole, small = folder / "onnx/model.onnx", folder / "onnx/model_quantized.onnx"
    # ONNX Runtime has no convolution of int8 weights whose ranges are found while it runs.
    quant_pre_process(whole, small, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(small, small, weight_type=QuantType.QUInt8)
    first, second = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            ["logits"], {"pixel_values": images}
        )[0]
        for path in (whole, small)
    )
    if not np.isfinite(second).all():
        raise ModelError(f"{source}: quantised for transformers.js it gives no finite numbers")
    first, second = (1 / (1 + np.exp(-each.clip(-80, 80))) for each in (first, second))
    return float(np.abs(first - second).max())


def _as_timm(source: Path, network: nn.Module, spec: ModelSpec) -> nn.Module:
    """A network as timm has it: its own, or one of torchvision whose weights have the same names.

    Whether it also computes the same is checked in the end.

    Raises:
        ModelError: timm has no such network.
    """
    import timm

    backbone = spec.backbone
    if spec.head != "linear":
        raise ModelError(f"{source}: has the head {spec.head}, which timm does not have")
    if backbone.startswith(TIMM):
        return network
    if not timm.is_model(backbone):
        raise ModelError(f"{source}: timm has no network '{backbone}'{_ELSEWHERE}")
    with torch.random.fork_rng(devices=[]):
        other: nn.Module = timm.create_model(backbone, num_classes=len(spec.vocabulary))
    if _shapes(other) != _shapes(network):
        raise ModelError(f"{source}: timm has another '{backbone}' than torchvision{_ELSEWHERE}")
    load_state(other, network.state_dict())
    return other.eval()


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _folded(source: Path, network: nn.Module, calibration: Calibration) -> nn.Module:
    """A copy of a network whose logits are slope * logits + offset, by its last layer.

    Raises:
        ModelError: that layer has no bias.
    """
    network = copy.deepcopy(network)
    _, layer = last_layer(network)
    weight, bias = layer.weight, layer.bias
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise ModelError(f"{source}: its last layer has no bias, which the calibration needs")
    slope, offset = (
        torch.tensor(values, dtype=torch.float64)
        for values in (calibration.slope, calibration.offset)
    )
    with torch.no_grad():
        weight.copy_(weight.double() * slope.view(-1, *(1,) * (weight.ndim - 1)))
        bias.copy_(bias.double() * slope + offset)
    return network


def _config(network: nn.Module, spec: ModelSpec) -> dict[str, Any]:
    """What timm's `create_model` and transformers read."""
    of_timm: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    preprocessing, count = spec.preprocessing, len(spec.vocabulary)
    side = preprocessing.crop
    fixed = bool(of_timm.get("fixed_input_size"))
    return {
        "architecture": spec.backbone.removeprefix(TIMM).partition(".")[0],
        "num_classes": count,
        "num_features": network.num_features,
        "label_names": list(spec.vocabulary),
        "problem_type": "multi_label_classification",
        **({"model_args": {"img_size": side}} if fixed else {}),
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "fixed_input_size": fixed,
            "crop_pct": crop_share(preprocessing),
            "crop_mode": "center",
            "interpolation": preprocessing.interpolation,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": count,
            "first_conv": of_timm.get("first_conv"),
            "classifier": of_timm.get("classifier"),
        },
    }


def crop_share(preprocessing: Preprocessing) -> float:
    """The `crop_pct` of timm, which makes the shorter side floor(crop / share) pixels long.

    Example:
        >>> crop_share(Preprocessing(resize=256, crop=224)), crop_share(Preprocessing(14, 9))
        (0.875, 0.6206896551724138)
    """
    resize, crop = preprocessing.resize, preprocessing.crop
    exact = crop / resize
    # Rounded, the quotient may be just below; half a pixel more cannot be.
    return exact if int(crop / exact) == resize else crop / (resize + 0.5)


def _processor(preprocessing: Preprocessing) -> dict[str, Any]:
    """What transformers.js reads; without a type, for which Python has one of timm's own."""
    side = preprocessing.crop
    return {
        "do_resize": True,
        "size": {"shortest_edge": preprocessing.resize},
        "resample": _RESAMPLING[preprocessing.interpolation],
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")

"""Loading whatever file a model is in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twlcli.errors import ModelError, TwlError, needs_extra
from twlcli.model.bundled import model_path
from twlcli.model.predictor import Predictor
from twlcli.model.spec import SPEC_KEY

if TYPE_CHECKING:
    from twlcli.model.foreign.predictor import ForeignPredictor
    from twlcli.model.foreign.stated import Stated
    from twlcli.model.onnx import OnnxPredictor


def check_there(source: Path) -> None:
    """Raise ModelError where there is no such run folder or checkpoint, before torch is loaded."""
    if not source.exists():
        raise ModelError(f"{source}: no such model")
    if source.suffix.lower() == ".onnx":
        raise ModelError(f"{source}: is exported already; expected a run folder or checkpoint")
    if source.is_dir() and not (source / "model.safetensors").is_file():
        raise ModelError(f"{source}: run has no checkpoint yet")


def onnx_file(source: Path) -> Path:
    """The ONNX file of a model: itself, or that in a folder that another program has made."""
    if source.is_dir():
        from twlcli.model.foreign.predictor import model_in

        return model_in(source) or source
    return source


def load_onnx(
    source: Path,
    *,
    provider: str | None = None,
    threads: int = 1,
    stated: Stated | None = None,
) -> OnnxPredictor | ForeignPredictor:
    """What runs an ONNX file, of twl or of another program.

    Args:
        source: the file, or the folder that another program has made; see `foreign`.
        provider: a key of `PROVIDERS`; None for the fastest available.
        threads: of one call on the CPU; 0 is one for each core.
        stated: what is said of a model that does not say it itself.

    Raises:
        ModelError: there is no such model, it is damaged, or nothing is known of it; or it is
            twl's, and says itself what is stated.
        DeviceError: the provider is not available.
    """
    from twlcli.model.onnx import OnnxPredictor, OnnxSession

    session = OnnxSession(onnx_file(source), provider=provider, threads=threads)
    if SPEC_KEY in session.metadata():
        if stated is not None:
            raise ModelError(f"{session.path}: is twl's own, and has its labels inside")
        return OnnxPredictor.of(session)
    from twlcli.model.foreign.predictor import ForeignPredictor

    if stated is None:
        return ForeignPredictor(session)
    from twlcli.model.foreign.stated import described_as

    return ForeignPredictor(
        session,
        lambda shape: described_as(stated.form, stated.labels, path=session.path, shape=shape),
    )


def load_predictor(
    source: Path | str,
    *,
    provider: str | None = None,
    device: str | None = None,
    threads: int = 1,
    allow_code: bool = False,
) -> Predictor:
    """What runs a model.

    Args:
        source: an exported `.onnx`, a run folder, a `.safetensors` checkpoint, a folder with a
            model of another program, `hf:ORG/NAME`, the address of a file in a store, or the name
            of a bundled model.
        provider: what runs an `.onnx`, a key of `PROVIDERS`; None for the fastest available.
        device: what runs a run or checkpoint: `auto` (None), `cpu`, `cuda`, `cuda:1` or `mps`.
        threads: threads of one call of an `.onnx` on the CPU; 0 is one for each core.
        allow_code: import a backbone `module:function` that a run or checkpoint names.

    Raises:
        ModelError: there is no such model, it is damaged or not twl's, or names code that is not
            allowed.
        DeviceError: the provider or device is not available.
        MissingExtraError: a run or checkpoint without the `train` extra.
    """
    source = model_path(source)
    if onnx_file(source).suffix.lower() == ".onnx":
        if device is not None:
            raise TwlError(f"{source} runs in ONNX Runtime", hint="use {provider}")
        return load_onnx(source, provider=provider, threads=threads)
    if provider is not None:
        raise TwlError(f"{source} runs in torch", hint="use {device}")
    check_there(source)
    with needs_extra("running a checkpoint", "train"):
        from twlcli.model.torch import TorchPredictor
    return TorchPredictor.load(source, device=device or "auto", allow_code=allow_code)

"""Exported models in ONNX Runtime."""

from __future__ import annotations

import mmap
import os
import re
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from twlcli.errors import DeviceError, ModelError, did_you_mean, reason_of
from twlcli.model.bounds import SECONDS, Calls, in_time, limit_memory
from twlcli.model.spec import SPEC_KEY, ModelSpec

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cpu": "CPUExecutionProvider",
}  # without a wish, the first that is there; TensorRT only on request: it compiles for minutes

# Measured on two cores: from 1 to 32 the same speed within the noise for real networks, while two
# threads of MobileNetV2 hold 260 MB at 8 and 135 at 2. At 1 tiny networks lose a tenth of theirs.
CPU_BATCH = 2
_LARGEST = 2 << 30  # bytes; the form itself has this bound
DEVICE_BATCH = 32  # enough to keep an accelerator busy between the calls of several workers

_FATAL = 4  # ONNX Runtime's severities; errors come as exceptions, too
_EXTERNAL = b"\x0a\x08location\x12"  # an entry of TensorProto.external_data, in protobuf
_MOST_FILES = 1000  # of one model's weights
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
_CODES = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def available_providers() -> tuple[str, ...]:
    """The short names of the execution providers that this ONNX Runtime has, best first."""
    there = onnxruntime.get_available_providers()
    return tuple(name for name, provider in PROVIDERS.items() if provider in there)


class OnnxSession:
    """An ONNX file in ONNX Runtime; it may be run from several threads at once.

    Attributes:
        path: the file.
        files: it, and those beside it that have its weights.
        provider: the short name of the execution provider that runs it.
        inputs: name and type of each input.
        outputs: each output by its name, as ONNX Runtime describes it.
    """

    def __init__(self, path: Path, *, provider: str | None = None, threads: int = 1) -> None:
        """Load the model and start its provider.

        Args:
            path: an `.onnx` file; its weights may be in files beside it.
            provider: a key of `PROVIDERS`; None takes the best that works here.
            threads: threads that one call uses on the CPU; 0 is one for each core. 1 is best
                where several threads call at once: on two cores two callers of MobileNetV2
                came to 131 images/s with 1, and 63 with 2.

        Raises:
            ModelError: the file is missing or not ONNX.
            DeviceError: the provider is not known, not in this ONNX Runtime, or does not start.
        """
        _check_file(path)
        self.path = path
        self.files = (path, *_data_of(path))
        self._calls = Calls()
        self._session, self.provider = _start(path, provider, threads)
        self.inputs = {each.name: each for each in self._session.get_inputs()}
        self.outputs = {each.name: each for each in self._session.get_outputs()}
        # DirectML alone allows no two calls at once.
        directml = self.provider == "directml"
        self._turn: AbstractContextManager[Any] = threading.Lock() if directml else nullcontext()

    @property
    def batch_size(self) -> int:
        """How many images suit one call."""
        return CPU_BATCH if self.provider == "cpu" else DEVICE_BATCH

    def metadata(self) -> dict[str, str]:
        """What the file says of itself.

        Raises:
            ModelError: it is no text.
        """
        try:
            return dict(self._session.get_modelmeta().custom_metadata_map)
        except UnicodeDecodeError as error:
            raise ModelError(f"{self.path}: its metadata is damaged ({error})") from error

    def run(self, output: str, feed: dict[str, NDArray[Any]], *, columns: int) -> NDArray[Any]:
        """One output (N, columns) of N images, floating point.

        Raises:
            DeviceError: the memory does not suffice for N images.
            ModelError: the model cannot be run, gives something else, or takes longer than
                `bounds.SECONDS` an image.
        """
        count = len(next(iter(feed.values())))
        try:
            with self._turn, self._calls.call(count) as options:
                (found,) = self._session.run([output], feed, options)
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            text = _one_line(error)
            if any(words in text.lower() for words in ("allocate", "out of memory", "bad_alloc")):
                raise DeviceError(
                    f"out of memory with {count} images at once on {self.provider}",
                    hint="a smaller {batch_size} needs less",
                ) from error
            raise ModelError(f"the model failed on {self.provider}: {text}") from error
        expected = count, columns
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            kind = getattr(found, "dtype", type(found).__name__)
            raise ModelError(f"the model gives {kind}; expected floating point of shape {expected}")
        if found.shape != expected:
            raise ModelError(f"the model gives {output} {found.shape}; expected {expected}")
        return found

    def stop(self, *, late: bool = False) -> None:
        """End the calls that go on in other threads; see `Stoppable`."""
        self._calls.stop(late=late)


class OnnxPredictor:
    """A model of `twl export` as a `Predictor`; it may be called from several threads at once."""

    def __init__(self, path: Path, *, provider: str | None = None, threads: int = 1) -> None:
        """Load the model; see `OnnxSession`.

        Raises:
            ModelError: the file is missing, not ONNX, or not twl's.
            DeviceError: the provider is not known, not in this ONNX Runtime, or does not start.
        """
        self._take(OnnxSession(path, provider=provider, threads=threads))

    @classmethod
    def of(cls, session: OnnxSession) -> OnnxPredictor:
        """A model whose file is open already.

        Raises:
            ModelError: it is not twl's.
        """
        predictor = cls.__new__(cls)
        predictor._take(session)
        return predictor

    def _take(self, session: OnnxSession) -> None:
        self._session = session
        self._spec = _read_spec(session)

    @property
    def spec(self) -> ModelSpec:
        """Labels, preprocessing, calibration and thresholds of the model."""
        return self._spec

    @property
    def files(self) -> tuple[Path, ...]:
        """All that decides what it says."""
        return self._session.files

    @property
    def provider(self) -> str:
        """The short name of the execution provider that runs the model."""
        return self._session.provider

    @property
    def batch_size(self) -> int:
        """How many images suit one call."""
        return self._session.batch_size

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 RGB images (N, H, W, 3) to logits (N, C) float32.

        Raises:
            DeviceError: the memory does not suffice for N images.
            ModelError: the model cannot be run, gives something else, or takes too long.
        """
        columns = len(self._spec.vocabulary)
        logits = self._session.run("logits", {"images": images}, columns=columns)
        with np.errstate(over="ignore"):  # infinite is what it is then
            return np.asarray(logits, dtype=np.float32)

    def stop(self, *, late: bool = False) -> None:
        """End the calls that go on in other threads; see `Stoppable`."""
        self._session.stop(late=late)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; export a run with: twl export {path}")
    if not path.exists():
        raise ModelError(f"{path}: no such model file")
    if not path.is_file():  # a pipe would be read for ever
        raise ModelError(f"{path}: is not a regular file; expected an .onnx file")
    if path.suffix == ".safetensors":
        raise ModelError(
            f"{path}: is a checkpoint, expected an .onnx file; write one with: twl export {path}"
        )
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{path}: is larger than 2 GiB, which no ONNX file in one piece is")


def data_beside(path: Path) -> Path:
    """Where the weights of a model are that is too large for one file."""
    return path.with_name(path.name + ".data")


def names_data(path: Path) -> bool:
    """Whether an ONNX file says that its weights are in `data_beside` it."""
    return data_beside(path).name in _external_names(path)


def _data_of(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file in which it says that its weights are.

    ONNX Runtime reads no file outside of the model's folder, however it is written; this is for
    what knows a model by its files, such as the journal.

    Raises:
        ModelError: one of them is not there or in another folder, or they are too many.
    """
    try:
        names = _external_names(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({reason_of(error)})") from error
    plain = [name for name in sorted(names) if Path(name).name == name and name != ".."]
    files = tuple(map(path.with_name, plain))
    if len(files) < len(names):
        raise ModelError(f"{path}: keeps weights in another folder; expected them beside it")
    for file in files:
        if file.is_symlink() or not file.is_file():
            raise ModelError(f"{path}: its weights are in {file.name}, which is not there")
    return files


def _external_names(path: Path) -> set[str]:
    """The names of files in which an ONNX file says that its weights are."""
    if not path.stat().st_size:  # an empty file cannot be mapped
        return set()
    names: set[str] = set()
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        place = content.find(_EXTERNAL)
        while place >= 0 and len(names) <= _MOST_FILES:
            start = place + len(_EXTERNAL)
            first, *second = (
                content[start : start + 2] or b"\0"
            )  # the length, seven bits in each byte
            is_long = first >= 0x80
            length = (first & 0x7F) | (second[0] << 7 if is_long and second else 0)
            start += 1 + is_long
            names.add(os.fsdecode(content[start : start + length]))
            place = content.find(_EXTERNAL, start)
    if len(names) > _MOST_FILES:
        raise ModelError(f"{path}: keeps weights in more than {_MOST_FILES:,} files")
    return names


def _start(path: Path, wish: str | None, threads: int) -> tuple[Any, str]:
    """A session on the provider wished for, or on the best that starts; with its short name."""
    there = available_providers()
    if wish is not None:
        _check_wish(wish, there)
        names = [wish]
    else:
        names = [name for name in there if name != "tensorrt"]
    for name in names:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads are slower than sleeping ones as soon as anything else wants a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _FATAL
        if name == "cpu" and limit_memory():
            options.add_session_config_entry("session.use_env_allocators", "1")
        chain = list(dict.fromkeys([PROVIDERS[name], PROVIDERS["cpu"]]))
        try:
            session = in_time(
                partial(onnxruntime.InferenceSession, path, options, providers=chain),
                seconds=SECONDS if name == "cpu" else None,  # others compile for minutes
                stop=partial(options.set_load_cancellation_flag, True),
            )
        except TimeoutError:
            raise ModelError(f"{path}: took more than {SECONDS:g} seconds to load") from None
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            failure = _one_line(error)
            if name == "cpu":
                raise ModelError(f"{path}: {_not_loaded(failure)}") from error
        else:
            if session.get_providers()[0] == PROVIDERS[name]:
                return session, name
            failure = "ONNX Runtime fell back to another one; are its libraries installed?"
        if wish is not None:
            raise DeviceError(f"provider '{name}' does not start: {failure}")
    raise DeviceError("ONNX Runtime has no execution provider here")


def _check_wish(wish: str, there: tuple[str, ...]) -> None:
    if wish not in PROVIDERS:
        known = f"known: {', '.join(PROVIDERS)}"
        raise DeviceError(
            f"provider '{wish}' is not known ({known}){did_you_mean(wish, PROVIDERS)}"
        )
    if wish not in there:
        raise DeviceError(
            f"provider '{wish}' is not in this ONNX Runtime (available: {', '.join(there)}); "
            "other builds of onnxruntime, such as onnxruntime-gpu, bring others"
        )


def _read_spec(session: OnnxSession) -> ModelSpec:
    path, outputs = session.path, session.outputs
    text = session.metadata().get(SPEC_KEY)
    if text is None:
        raise ModelError(
            f"{path}: has no '{SPEC_KEY}' metadata, so its labels and preprocessing are unknown; "
            "expected a model written by twl export"
        )
    spec = ModelSpec.from_json(text, source=path)
    inputs = {name: each.type for name, each in session.inputs.items()}
    if inputs != {"images": "tensor(uint8)"} or "logits" not in outputs:
        raise ModelError(
            f"{path}: expected a uint8 input 'images' and an output 'logits', "
            f"found {', '.join(inputs)} and {', '.join(outputs)}"
        )
    logits, label_count = outputs["logits"], len(spec.vocabulary)
    if logits.type not in _FLOATS or len(logits.shape) != 2:
        raise ModelError(
            f"{path}: its 'logits' are {logits.type} of shape {logits.shape}; expected floating "
            f"point of (images, {label_count})"
        )
    columns = logits.shape[1]
    if isinstance(columns, int) and columns != label_count:
        raise ModelError(f"{path}: has {columns} logits for {label_count} labels")
    return spec


def _not_loaded(failure: str) -> str:
    """Why a file is no model to run."""
    if "rotobuf" in failure:  # what every ONNX file is written in
        return "is not an ONNX model, or is damaged"
    return f"not a model to run: {failure}"


def _one_line(error: Exception) -> str:
    """What ONNX Runtime says, without its codes."""
    return " ".join(_CODES.sub("", str(error)).split()) or type(error).__name__

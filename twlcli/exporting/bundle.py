"""A run or checkpoint as a folder that other programs load."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from twlcli.errors import ModelError, TwlError
from twlcli.exporting import huggingface, triton, wd, web_page
from twlcli.exporting.onnx import load_trained
from twlcli.io import check_free, put, write_errors
from twlcli.model.checkpoint import CHECKPOINT_NAME, is_checkpoint
from twlcli.model.onnx_writer import ONE_FILE
from twlcli.model.spec import ModelSpec

BundleKind = Literal["hf", "wd", "triton", "web"]
KINDS = get_args(BundleKind)

_FILES = {"hf": huggingface.FILES, "wd": wd.FILES, "triton": triton.FILES, "web": web_page.FILES}
_NOTES = {"hf": huggingface.NOTE, "wd": wd.NOTE, "triton": triton.NOTE, "web": web_page.NOTE}


@dataclass(frozen=True)
class Bundle:
    """What `export_bundle` made.

    Attributes:
        folder: that other programs load.
        kind: for which: `hf`, `wd`, `triton` or `web`.
        files: that were written, in the folder.
        size: of the files together, bytes.
        spec: of the model.
        note: what is not as in twl, or where it is, in a sentence.
    """

    folder: Path
    kind: BundleKind
    files: tuple[Path, ...]
    size: int
    spec: ModelSpec
    note: str


def export_bundle(
    source: Path | str,
    kind: BundleKind,
    folder: Path | str,
    *,
    runtime: Path | str | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> Bundle:
    """Export a run folder or checkpoint as a folder that other programs load.

    Its files are made in a temporary folder, checked against torch, and moved into place.

    Args:
        source: run folder or `.safetensors` checkpoint.
        kind: `hf` for timm, transformers and transformers.js; `wd` for programs that read WD
            taggers; `triton` for the model repository of a Triton Inference Server; `web` for a
            page that tags images in a browser.
        folder: to write; not there, or empty.
        runtime: of `web`, a folder with the files of onnxruntime-web; None fetches them once.
        force: write into a folder that has files; those of the bundle are replaced, others stay.
        allow_code: import a backbone `module:function` that the checkpoint names.

    Raises:
        ModelError: there is no checkpoint, it names code that is not allowed, it cannot have this
            form, or what was written gives something else than torch.
        TwlError: there is no such kind, or the folder is not empty or cannot be written.
        MissingExtraError: `hf` without the `timm` extra.
    """
    source, folder = Path(source), Path(folder)
    if kind not in KINDS:
        raise TwlError(f"there is no bundle '{kind}'; expected hf, wd, triton or web")
    if runtime is not None and kind != "web":
        raise TwlError("a runtime is for the bundle web alone")
    names = _FILES[kind]
    _check_folder(folder, names, force=force)
    network, spec = load_trained(source, allow_code=allow_code)
    weights = sum(each.nbytes for each in network.state_dict().values())
    if weights > ONE_FILE:
        raise ModelError(
            f"{source}: has {weights / 1e9:.1f} GB of weights, which one ONNX file does not hold, "
            "as a bundle needs it; twl export without a bundle writes two"
        )
    if spec.preprocessing.fit != "crop":
        raise ModelError(f"{source}: images are not cut for it; expected a model of `twl train`")
    with _moved_to(folder, names) as made:
        if kind == "hf":
            huggingface.write_hf(source, network, spec, made)
        elif kind == "wd":
            wd.write_wd(source, network, spec, made)
        elif kind == "web":
            place = None if runtime is None else Path(runtime)
            web_page.write_web(source, spec, made, runtime=place, allow_code=allow_code)
        else:
            triton.write_triton(source, spec, made, allow_code=allow_code)
    files = tuple(folder / name for name in names)
    size = sum(file.stat().st_size for file in files)
    return Bundle(folder, kind, files, size, spec, _NOTES[kind])


def _check_folder(folder: Path, names: tuple[str, ...], *, force: bool) -> None:
    """Raise TwlError where a bundle may not be written."""
    with write_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise TwlError(f"{folder}: is not a folder")
        if not folder.parent.is_dir():
            raise TwlError(f"{folder}: there is no folder {folder.parent}")
        if not folder.exists() or not any(folder.iterdir()):
            return
        if not force:
            raise TwlError(
                f"{folder}: is not empty", hint="{force} replaces the files of a bundle in it"
            )
        if is_checkpoint(folder / CHECKPOINT_NAME):
            raise TwlError(f"{folder}: has a checkpoint of twl; expected another folder")
        for name in names:
            parent = (folder / name).parent
            if parent.exists() and not parent.is_dir():
                raise TwlError(f"{parent}: is not a folder")
            if parent.exists():
                check_free(folder / name, force=True)


@contextmanager
def _moved_to(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A new folder that becomes another when the block ends well, or whose files are moved into it.

    Raises:
        TwlError: something cannot be written.
    """
    # Inside a folder that is there, which may be a disk of its own.
    place = folder if folder.is_dir() else folder.absolute().parent
    made = place / f".twl-{secrets.token_hex(8)}.tmp"
    with write_errors(folder):
        made.mkdir()
        try:
            yield made
            if not folder.is_dir():
                made.rename(folder)
                return
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                put(made / name, folder / name)
        finally:
            shutil.rmtree(made, ignore_errors=True)

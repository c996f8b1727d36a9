"""Models of the Hugging Face hub by their address: downloaded once, then there without it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from twlcli.errors import ModelError, needs_extra, reason_of
from twlcli.model.foreign.huggingface import CONFIG, PROCESSOR, THRESHOLDS
from twlcli.model.foreign.predictor import IN_FOLDER
from twlcli.model.foreign.wd import MAPPING, TAGS
from twlcli.model.hub_guard import bounded_bar, checked_answers

_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+)((?:/[^/@]+)*)/?(?:@([^@]+))?")
_EXPECTED = "expected hf:ORG/NAME, with /FOLDER or /FILE.onnx and @REVISION where needed"
_BESIDE = (TAGS, MAPPING, CONFIG, PROCESSOR, THRESHOLDS)
_WEIGHTS = re.compile(r"[._]data(_\d+)?")  # after the name of a model whose weights are beside it
_MOST_OF_MODEL = 32 << 30  # bytes of its largest file
_MOST_BESIDE = 64 << 20  # bytes of a file that describes it
_MOST_LISTED = 5  # models that an error names


@cache  # a run asks once, and stays with one version
def downloaded(address: str) -> Path:
    """The ONNX file of a model on the hub, with what describes it beside it.

    It lies in the cache of huggingface_hub, which other programs share. The hub is asked for the
    newest version; where it cannot be reached, the version that was downloaded last is used. The
    model comes last, so that it is never there without the other files. What was downloaded is
    compared with the digest that the hub states.

    Args:
        address: `hf:ORG/NAME`; `hf:ORG/NAME/FOLDER` or `hf:ORG/NAME/FILE.onnx` for one of several
            models; `...@REVISION` for a branch, a tag or a commit.

    Raises:
        ModelError: it is no such address, there is no such model, or it cannot be downloaded.
        MissingExtraError: huggingface_hub is not installed.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or {".", ".."} & set(found[2].split("/")):
        raise ModelError(f"{address}: is no model of the hub; {_EXPECTED}")
    place = _Place(address, found[1], found[2].removeprefix("/"), found[3])
    with needs_extra(f"the model '{address}'", "hub"):
        from huggingface_hub import HfApi
    with _clear_errors(place), checked_answers(_MOST_OF_MODEL):
        try:
            info = HfApi().model_info(
                place.repository, revision=place.revision, files_metadata=True
            )
        except Exception as error:
            if not _is_unreachable(error):
                raise
            return place.cached(error)
        files = {each.rfilename: each for each in info.siblings or ()}
        return place.download(str(info.sha), files)


@dataclass(frozen=True)
class _Place:
    """Where a model lies on the hub: a repository, a folder or file in it, a revision."""

    address: str
    repository: str
    inside: str
    revision: str | None

    @property
    def candidates(self) -> list[str]:
        """The files that the model may be."""
        if self.inside.lower().endswith(".onnx"):
            return [self.inside]
        return [str(PurePosixPath(self.inside) / name) for name in IN_FOLDER]

    def download(self, commit: str, files: Mapping[str, Any]) -> Path:
        """The model's files at a commit that has these files, from the cache or from the hub."""
        model = next((name for name in self.candidates if name in files), None)
        if model is None:
            raise ModelError(f"{self.address}: has no {self.candidates[0]}{self._others(files)}")
        for name in _beside(model, files):
            is_weights = name.startswith(model)
            most = _MOST_OF_MODEL if is_weights else _MOST_BESIDE
            self._file(files[name], commit, most)
        # By the name of the revision, so that it is known where the hub cannot be reached.
        path = self._file(files[model], self.revision or "main", _MOST_OF_MODEL, commit)
        if commit not in path.parts:
            raise ModelError(f"{self.address}: was changed while it was downloaded; try again")
        return path

    def _others(self, files: Iterable[str]) -> str:
        found = [name for name in files if name.lower().endswith(".onnx")]
        if not found:
            return "; it has no ONNX file, which twl needs"
        more = len(found) - _MOST_LISTED
        rest = f" and {more} more" if more > 0 else ""
        some = ", ".join(f"{name!a}"[1:-1] for name in found[:_MOST_LISTED])
        return f"; name one of its files after hf:{self.repository}/: {some}{rest}"

    def _file(self, file: Any, revision: str, most: int, commit: str | None = None) -> Path:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        name = file.rfilename
        kept = try_to_load_from_cache(self.repository, name, revision=commit or revision)
        path = Path(
            hf_hub_download(self.repository, name, revision=revision, tqdm_class=bounded_bar(most))
        )
        if not isinstance(kept, str) and not _is_as_stated(path, file):
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise ModelError(
                f"{self.address}: {name} came damaged: it differs from the hub's digest; try again"
            )
        return path

    def cached(self, error: Exception) -> Path:
        """The model's file as it was downloaded last.

        Raises:
            ModelError: it was not; says why the hub cannot be asked.
        """
        from huggingface_hub import try_to_load_from_cache

        for name in self.candidates:
            revision = self.revision or "main"
            kept = try_to_load_from_cache(self.repository, name, revision=revision)
            if isinstance(kept, str):
                return Path(kept)
        raise ModelError(
            f"{self.address}: was never downloaded, and the hub cannot be reached "
            f"({_first_line(error)})"
        )


def _beside(model: str, files: Iterable[str]) -> list[str]:
    """What is needed with a model: its weights above 2 GB, and what describes it."""
    folder = PurePosixPath(model).parent
    folder = folder.parent if folder.name == "onnx" else folder
    described = {str(folder / name) for name in _BESIDE}
    return [
        name
        for name in files
        if name in described
        or (name.startswith(model) and _WEIGHTS.fullmatch(name.removeprefix(model)))
    ]


def _is_as_stated(path: Path, file: Any) -> bool:
    """Whether content has the digest that the hub states: SHA-256, or git's of a small file."""
    if file.lfs is not None:
        digest, stated = hashlib.sha256(), file.lfs.sha256
    else:
        # git's name for content, not a safeguard against those who would forge it
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        stated = file.blob_id
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return stated is None or digest.hexdigest() == stated


@contextmanager
def _clear_errors(place: _Place) -> Iterator[None]:
    from huggingface_hub import errors

    address = place.address
    try:
        yield
    except ModelError:
        raise
    except errors.GatedRepoError:
        raise ModelError(
            f"{address}: is given only to those who accept its terms on its page; then set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{address}: there is no such model on the hub, or it is private and HF_TOKEN is not "
            "set"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{address}: has no revision {place.revision}") from None
    except Exception as error:  # of HTTP, of files, and of what the hub answers
        reason = _first_line(error)
        raise ModelError(f"{address}: cannot be downloaded ({reason})") from error


def _is_unreachable(error: Exception) -> bool:
    """Whether the hub did not answer, or cannot at present."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status >= 500 or status == 429
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore"))


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return reason_of(error)
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

"""Tagging on a cluster: what `twl tag --engine ray` does, as one function."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import twlcli
from twlcli.errors import TwlError, needs_extra
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.images.discover.scan import scan
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Limits
from twlcli.io import check_count, is_address, listed
from twlcli.model.bundled import default_model, model_path
from twlcli.model.decisions import thresholds_of, wish_beside
from twlcli.model.load import load_onnx
from twlcli.stores.cached import local_copy
from twlcli.tagging.fingerprint import Decision, model_digest
from twlcli.tagging.outputs.fan_out import Tally
from twlcli.tagging.tag_rules import TagRules

if TYPE_CHECKING:
    from twlcli.cluster.parts import Parts

_ON_GPU = ("cuda", "tensorrt")


@dataclass(frozen=True)
class ClusterStart:
    """A run that is about to begin.

    Attributes:
        images: how many were found.
        done: how many of all in the folder were tagged before.
        workers: how many processes tag.
        address: of the cluster; `local` for one that was started for this run.
    """

    images: int
    done: int
    workers: int
    address: str


def tag_on_ray(
    paths: Iterable[Path | str] | Path | str,
    folder: Path | str,
    *,
    model: Path | str | None = None,
    threshold: str | float | None = None,
    top_k: int | None = None,
    rules: Path | str | None = None,
    exact: bool = False,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    provider: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    watcher: Callable[[ClusterStart], None] = lambda start: None,
    **found: Unpack[ScanKeywords],
) -> Tally:
    """Tag images on a Ray cluster, into a folder of Parquet parts.

    Parts with tags are in `outcome=tagged`, those with failures in `outcome=failed`. Calling again
    with the same folder goes on where a run ended, however it ended: each image is in the parts
    exactly once. The model is sent to the workers; images must be readable, and the folder
    writable, from every machine.

    The cluster is the one that this process or `RAY_ADDRESS` names, or that was started on this
    machine; where there is none, one is started for this run.

    Args:
        paths: images, folders, `.tar` shards and globs, also in stores; see
            `images.discover.scan.scan`.
        folder: of the parts; also an address, such as `s3://bucket/tags`.
        model: as for `tag_files`, as are the next options.
        threshold: which labels are given.
        top_k: at most this many labels.
        rules: a TOML file of tag rules.
        exact: decode JPEG at full size.
        max_pixels: refuse larger images.
        accept_damaged: take what can be read of a damaged image.
        time_limit: seconds for decoding one image.
        memory_limit: megabytes for decoding one image.
        provider: `cuda` or `tensorrt` gives each worker a GPU; otherwise each has one CPU.
        batch_size: images in one call of the model.
        workers: processes that tag; None is as many as the cluster has room for.
        watcher: told when the images are found, before the workers start.
        found: how images are searched for, as for `tag_files`.

    Returns:
        How many images the folder now has tags of, and how many failed; `stored` are those of
        earlier runs.

    Raises:
        TwlError: a path, a threshold or the rules are wrong; the folder is not empty and of
            another run; or Ray ends the run.
        ModelError: the model cannot be loaded or run.
        DeviceError: the cluster is too small.
        MissingExtraError: Ray is not installed.
    """
    with needs_extra("tagging on a cluster", "ray"):
        from twlcli.cluster import engine  # noqa: F401
        from twlcli.cluster.parts import Parts
    for name, value in {
        "top_k": top_k,
        "batch_size": batch_size,
        "workers": workers,
        "max_pixels": max_pixels,
    }.items():
        check_count(name, value)
    check_count("memory_limit", memory_limit, least=256)
    paths, lists = listed(paths), listed(found.pop("lists", ()))
    if not paths and not lists:
        raise TwlError("nothing to tag", hint="give images or folders, or a list of them")
    usual = Limits()
    run = _Run(
        parts=Parts.at(folder),
        model=default_model() if model is None else model_path(model),
        threshold=wish_beside(threshold, top_k),
        top_k=top_k,
        rules=None if rules is None else Path(rules),
        decoding=Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged),
        limits=Limits(time_limit or usual.seconds, memory_limit or usual.megabytes),
        provider=provider,
        batch_size=batch_size,
        workers=workers,
        watcher=watcher,
    )
    return run.tag(
        scan(
            paths,
            lists=[local_copy(str(each)) if is_address(each) else each for each in lists],
            null=found.get("null", False),
            include=listed(found.get("include", ())),
            exclude=listed(found.get("exclude", ())),
            hidden=found.get("hidden", False),
        )
    )


class ScanKeywords(TypedDict, total=False):
    """How images are searched for; see `images.discover.scan.scan`."""

    lists: Sequence[Path | str]
    null: bool
    include: Sequence[str]
    exclude: Sequence[str]
    hidden: bool


@dataclass(frozen=True)
class _Run:
    """The arguments of `tag_on_ray`, with what is left open decided."""

    parts: Parts
    model: Path
    threshold: str | None
    top_k: int | None
    rules: Path | None
    decoding: Decoding
    limits: Limits
    provider: str | None
    batch_size: int | None
    workers: int | None
    watcher: Callable[[ClusterStart], None]

    def tag(self, files: Iterator[ImageFile]) -> Tally:
        """Send the model, then tag everything."""
        import ray

        from twlcli.cluster import engine
        from twlcli.cluster.worker import Job, files_of

        predictor = load_onnx(self.model, provider="cpu", threads=1)
        spec = predictor.spec
        thresholds = None if self.threshold is None else thresholds_of(spec, self.threshold)
        rules = None if self.rules is None else TagRules.read(self.rules, spec.vocabulary)
        decision = Decision(
            model_digest(predictor.files),
            self.threshold,
            thresholds,
            self.top_k,
            self.decoding,
            None if rules is None else rules.digest,
        )
        self.parts.begin(decision.conditions)
        start = time.perf_counter()
        with engine.connected() as cluster:
            shares = cluster.shares(self.workers, on_gpu=self.provider in _ON_GPU)
            content, name = files_of(predictor.files)
            job = Job(
                twlcli.__version__,
                ray.put(content),
                name,
                self.provider,
                thresholds,
                self.top_k,
                rules,
                self.decoding,
                self.limits,
                self.batch_size,
                threads=shares.cpus,
            )
            source = engine.Files(files, workers=shares.workers)
            done = self.parts.done()
            self.watcher(ClusterStart(len(source), done, shares.workers, cluster.address))
            engine.write_parts(source, job, shares, self.parts)
        tagged, failed = self.parts.count()
        return Tally(tagged, failed, time.perf_counter() - start, stored=done)

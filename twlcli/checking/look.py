"""Looking at image files: which can be read, which are the same, which look the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.missing import find_missing_images
from twlcli.annotations.split import numbered
from twlcli.checking.near import near_groups
from twlcli.errors import ImageError, MissingExtraError, TwlError, check_extra, needs_extra
from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.each_decoded import each_decoded
from twlcli.images.image_file import MAX_BYTES, Failure, ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.io import check_count
from twlcli.model.preprocessing import Preprocessing
from twlcli.parallel import in_threads, usable_cores

Rows = NDArray[np.int64]
Hash = Callable[[NDArray[np.uint8]], int]

# Twice the 32 pixels that the perceptual hash is taken of, so that a JPEG can be decoded small.
SMALL = Preprocessing(resize=64, crop=64)
# Of 64 bits. On VOC2007 it finds all copies that were saved as JPEG of quality 30 or at half the
# size, 98 % of those 1.2 times as bright, 93 % of those with 2 % cut off on each side, and one pair
# among the 12.5 million of its own images, a true one. With 8, shots in quick succession are found
# too; with 10, some images that have nothing in common.
USUAL_NEAR = 6
MOST_NEAR = 16  # unrelated images differ in 32 of 64 bits on average
_AT_ONCE = 16  # images that a thread is given


@dataclass(frozen=True)
class Looked:
    """What image files are like.

    Attributes:
        missing: the rows whose file is not there.
        unreadable: the others that cannot be decoded, by row.
        damaged: the rows that were read only as far as possible.
        same: (N,) numbers; images with the same number have the same bytes.
        near: (N,) numbers; images with the same number look the same, chains included. -1 for those
            that cannot be read. None where it was not looked for.
    """

    missing: Rows
    unreadable: dict[int, Failure]
    damaged: tuple[int, ...]
    same: Rows
    near: Rows | None


def look(
    annotations: Annotations,
    *,
    near: int | None = None,
    decoding: Decoding = USUAL,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Looked:
    """Read every image once, in processes that may crash, and compare them.

    The memory needed for each image is a few numbers.

    Args:
        annotations: the images.
        near: how many of the 64 bits of the perceptual hashes of two images may differ for them to
            look the same; None does not compare them.
        decoding: the settings that change pixels.
        workers: processes that decode; None is one for each core.
        progress: told how many more images are done.

    Raises:
        MissingExtraError: `near` without the `check` extra.
        DeviceError: the processes that decode do not start.
    """
    take = None if near is None else perceptual_hash()
    missing = find_missing_images(annotations)
    there = np.setdiff1d(np.arange(len(annotations)), missing)
    if progress is not None:
        progress(len(missing))
    hashes = np.zeros(len(annotations), dtype=np.uint64)
    unreadable: dict[int, Failure] = {}
    damaged = []
    seen = _decoded(annotations, there, take, decoding=decoding, workers=workers or usable_cores())
    with closing(seen):
        for batch in seen:
            for row, outcome, caveat in batch:
                if isinstance(outcome, ImageError):
                    unreadable[row] = Failure(annotations.images[row], str(outcome))
                else:
                    hashes[row] = outcome
                if Caveat.DAMAGED in caveat:
                    damaged.append(row)
            if progress is not None:
                progress(len(batch))
    same = same_files(annotations, there)
    groups = None
    if near is not None:
        readable = np.array(
            [row for row in there.tolist() if row not in unreadable], dtype=np.int64
        )
        groups = np.full(len(annotations), -1)
        groups[readable] = near_groups(hashes[readable], distance=near)
    return Looked(missing, dict(sorted(unreadable.items())), tuple(damaged), same, groups)


def near_bits(asked: int | None) -> int | None:
    """How many bits of two perceptual hashes may differ; None where they cannot be taken.

    Args:
        asked: what the caller wants; None is `USUAL_NEAR` where the `check` extra is installed.

    Raises:
        TwlError: more than `MOST_NEAR` are asked for, or fewer than none.
        MissingExtraError: some are asked for without the extra.
    """
    what = "looking for images that look the same"
    try:
        check_extra(what, "check", "imagehash")
    except MissingExtraError:
        if asked is None:
            return None
        raise
    check_count("near", asked, least=0)
    if asked is not None and asked > MOST_NEAR:
        raise TwlError(f"near is {asked}; expected at most {MOST_NEAR} of 64 bits")
    return USUAL_NEAR if asked is None else asked


def perceptual_hash() -> Hash:
    """What takes the perceptual hash of an image, uint8 RGB (H, W, 3): 64 bits.

    The signs of the 8 × 8 lowest frequencies of a cosine transform, less their median: `phash` of
    the package ImageHash.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs_extra("looking for images that look the same", "check"):
        import imagehash
    from PIL import Image

    def taken(pixels: NDArray[np.uint8]) -> int:
        bits = imagehash.phash(Image.fromarray(pixels)).hash
        return int.from_bytes(np.packbits(bits).tobytes(), "big")

    return taken


def same_files(annotations: Annotations, rows: Rows) -> Rows:
    """Number the images (N,) so that those with the same bytes have the same number.

    Only files of the same size are read; what cannot be read is like no other.
    """
    by_size: dict[int, list[int]] = {}
    for row in rows.tolist():
        try:
            by_size.setdefault(annotations.path(row).stat().st_size, []).append(row)
        except OSError:  # decoding says why
            continue
    numbers = np.arange(len(annotations))
    alike = [row for group in by_size.values() if len(group) > 1 for row in group]
    first: dict[bytes, int] = {}
    digest_of = partial(_digest, annotations)
    with closing(
        in_threads(digest_of, alike, threads=usable_cores(), name="twl-hashes")
    ) as digests:
        for row, digest in zip(alike, digests, strict=True):
            if digest is not None:
                numbers[row] = first.setdefault(digest, row)
    return numbered(numbers)


def _digest(annotations: Annotations, row: int) -> bytes | None:
    try:
        with annotations.path(row).open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                return None  # too large for an image, which is said of it elsewhere
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


Seen = tuple[int, int | ImageError, Caveat]


def _decoded(
    annotations: Annotations,
    rows: Rows,
    take: Hash | None,
    *,
    decoding: Decoding,
    workers: int,
) -> Generator[list[Seen], None, None]:
    """Decode images in several processes: row, hash or error, and caveat of each."""

    def decode(decoder: Decoder, batch: Sequence[int]) -> list[Seen]:
        return [_seen(annotations, row, decoder, take, decoding) for row in batch]

    batches = (rows[first : first + _AT_ONCE].tolist() for first in range(0, len(rows), _AT_ONCE))
    return each_decoded(decode, batches, workers=workers, name="twl-images")


def _seen(
    annotations: Annotations,
    row: int,
    decoder: Decoder,
    take: Hash | None,
    decoding: Decoding,
) -> Seen:
    file = ImageFile(annotations.path(row), annotations.images[row])
    pixels = np.empty((SMALL.crop, SMALL.crop, 3), dtype=np.uint8)
    try:
        caveat = decoder.decode(file, SMALL, pixels, decoding=decoding)
    except ImageError as error:
        return row, error, Caveat.NOTHING
    return row, 0 if take is None else take(pixels), caveat

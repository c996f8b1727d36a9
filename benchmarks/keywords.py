"""How long it takes to read the keywords of a photo library, against reading the files' bytes.

    python benchmarks/keywords.py [--images 10000]

The photographs are JPEGs of 0.3 MB with a preview of 20 kB, XMP of 6 kB as Lightroom writes it, and
IPTC; every third has its keywords in a sidecar. All are in the disk's cache. ExifTool, if
`exiftool` is installed, reads the same properties of a tenth of them, in one process.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from twlcli.annotations.keywords import read_keywords

WORDS = ("sea", "beach", "dog", "cat", "tree", "house", "Été", "street", "snow", "car")
REPEATS = 3

PACKET = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
 {settings}>
<crs:ToneCurvePV2012><rdf:Seq>{curve}</rdf:Seq></crs:ToneCurvePV2012>
<dc:subject><rdf:Bag>{subject}</rdf:Bag></dc:subject>
<lr:hierarchicalSubject><rdf:Bag>{levels}</rdf:Bag></lr:hierarchicalSubject>
</rdf:Description></rdf:RDF></x:xmpmeta>
{padding}<?xpacket end="w"?>"""


def packet(words: tuple[str, ...]) -> bytes:
    """XMP with these words, each below a level, among a hundred settings of a raw converter."""
    return PACKET.format(
        settings="\n ".join(f'crs:Setting{number}="{number / 7:.4f}"' for number in range(100)),
        curve="".join(f"<rdf:li>{16 * each}, {16 * each}</rdf:li>" for each in range(16)),
        subject="".join(f"<rdf:li>{each}</rdf:li>" for each in (*words, "all")),
        levels="".join(f"<rdf:li>all|{each}</rdf:li>" for each in words),
        padding=" " * 2000,
    ).encode()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def photograph(words: tuple[str, ...], *, preview: bytes, pixels: bytes) -> bytes:
    """The segments of a JPEG; what stands for its pixels is never decoded."""
    sets = b"".join(
        b"\x1c\x02\x19" + struct.pack(">H", len(each.encode())) + each.encode() for each in words
    )
    sets += bytes(len(sets) % 2)
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(sets)) + sets
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + preview
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + packet(words)
    head = [segment(0xE1, exif), segment(0xE1, xmp), segment(0xED, iptc)] if words else []
    start_of_scan = segment(0xDA, b"\1\1\0\0\x3f\0")
    return b"".join([b"\xff\xd8", *head, start_of_scan, pixels, b"\xff\xd9"])


def make(folder: Path, count: int) -> None:
    """A library in ten folders."""
    rng = np.random.default_rng(0)
    preview = rng.bytes(20_000)
    for number in range(count):
        words = tuple(rng.choice(WORDS, size=3, replace=False).tolist())
        path = folder / str(2010 + number % 10) / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        beside = number % 3 == 0
        pixels = rng.bytes(300_000).replace(b"\xff", b"\xfe")
        path.write_bytes(photograph(() if beside else words, preview=preview, pixels=pixels))
        if beside:
            path.with_name(f"{path.name}.xmp").write_bytes(packet(words))


def seconds(work: Callable[[], object]) -> float:
    """The median of several runs, after one that does not count."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def exiftool(folder: Path) -> None:
    """The same properties by ExifTool, of the photographs and sidecars of one folder."""
    tags = ("-XMP-dc:Subject", "-XMP-lr:HierarchicalSubject", "-XMP-digiKam:TagsList")
    command = ["exiftool", "-q", "-json", *tags, "-IPTC:Keywords", "-ext", "*", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, count)
        files = [each for each in folder.rglob("*") if each.is_file()]
        bare = seconds(lambda: [each.read_bytes() for each in files])
        ours = seconds(lambda: read_keywords(folder))
        assert len(read_keywords(folder)) == count
        print(f"{count:,} photographs, {1e6 * ours / count:.0f} µs each: {ours:.2f} s")
        print(f"reading all bytes: {bare:.2f} s; keywords take {ours / bare:.2f} of it")
        if shutil.which("exiftool"):
            theirs = 10 * seconds(lambda: exiftool(folder / "2010"))
            print(f"exiftool: {theirs:.0f} s; {theirs / ours:.0f} times as long")


if __name__ == "__main__":
    main()

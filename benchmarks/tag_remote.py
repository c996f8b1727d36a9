"""What latency costs: `twl tag` on images in S3, as a multiple of the same images on the disk.

The store is a small server of its own process on the loopback: it answers as S3 does, each request
after a fixed time. It serves what it has read into memory, since a complete imitation of S3 would
take as much of two cores as the model. The CPU time that it does take is given beside the ratio: a
real store takes it elsewhere.

    python benchmarks/tag_remote.py --latency 50 --rounds 5
    python benchmarks/tag_remote.py --images photos/
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bench"


def main() -> None:
    """Time both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder; drawn photographs of 500 × 375 else")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=50, help="milliseconds a request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.latency / 1000))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "photos")
        folder.mkdir()
        gather(options.images, folder, options.count)
        compare(folder, options.latency, options.rounds)


def gather(source: Path | None, folder: Path, count: int) -> None:
    """So many images in one folder: links to those given, or drawn ones."""
    if source is not None:
        found = sorted(
            path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".png")
        )
        for path in found[:count]:
            (folder / path.name).symlink_to(path.resolve())
        return
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(
            folder / f"{number:06}.jpg", quality=90
        )


def compare(folder: Path, latency: float, rounds: int) -> None:
    """Print the medians of both, interleaved, and their ratio."""
    command = [sys.executable, __file__, "--serve", str(folder), "--latency", str(latency)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        times: dict[str, list[float]] = {"disk": [], "S3": []}
        served = 0.0
        for number in range(rounds + 1):
            for name, place in (("disk", str(folder)), ("S3", f"s3://{BUCKET}/photos")):
                before = cpu_of(server.pid)
                seconds = timed(place, environment)
                if number:  # the first of each warms up
                    times[name].append(seconds)
                    served += cpu_of(server.pid) - before
    finally:
        server.kill()
        server.wait()
    count = len(list(folder.iterdir()))
    disk, store = (statistics.median(times[name]) for name in ("disk", "S3"))
    spread = {name: f"{min(all_):.2f}..{max(all_):.2f} s" for name, all_ in times.items()}
    print(f"{count:,} images, {latency:g} ms a request, medians of {rounds} rounds, interleaved")
    print(f"disk: {count / disk:.1f} images/s ({spread['disk']})")
    print(f"S3:   {count / store:.1f} images/s ({spread['S3']})")
    print(f"S3 has {disk / store:.2f} of the speed of the disk")
    print(f"the server took {served / rounds:.2f} s of CPU time a round, on the same cores")


def timed(place: str, environment: dict[str, str]) -> float:
    """Seconds of one run of `twl tag`, its start included."""
    command = [sys.executable, "-m", "twlcli", "tag", place, "--no-journal", "--out", "-"]
    start = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return seconds


def cpu_of(process: int) -> float:
    """CPU seconds of a process so far; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the server -----------------------------------------------------------------------------------


async def serve(folder: Path, latency: float) -> None:
    """Serve the files of a folder as `photos/` in a bucket, until the process ends."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    contents = {f"photos/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    etags = {key: hashlib.md5(data).hexdigest() for key, data in contents.items()}  # noqa: S324

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(latency)
                writer.write(reply(request.decode(), contents, etags))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def reply(request: str, contents: dict[str, bytes], etags: dict[str, str]) -> bytes:
    """The answer to one request."""
    first, *lines = request.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    address = urlsplit(target)
    key = unquote(address.path).removeprefix(f"/{BUCKET}").lstrip("/")
    if not key:
        return page(parse_qs(address.query, keep_blank_values=True), contents, etags)
    if key not in contents:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    data, status, more = contents[key], "200 OK", ""
    if limits := headers.get("range"):
        start, _, end = limits.removeprefix("bytes=").partition("-")
        last = min(int(end or len(data) - 1), len(data) - 1)
        more = f"Content-Range: bytes {start}-{last}/{len(data)}\r\n"
        data, status = data[int(start) : last + 1], "206 Partial Content"
    head = f'HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\nETag: "{etags[key]}"\r\n{more}\r\n'
    return head.encode() + (b"" if method == "HEAD" else data)


def page(query: dict[str, list[str]], contents: dict[str, bytes], etags: dict[str, str]) -> bytes:
    """One page of a listing."""
    prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    keys = [key for key in contents if key.startswith(prefix) and key > after]
    most = int(query.get("max-keys", ["1000"])[0])
    parts = [
        f"<Contents><Key>{escape(key)}</Key><Size>{len(contents[key])}</Size>"
        f"<ETag>&quot;{etags[key]}&quot;</ETag>"
        "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in keys[:most]
    ]
    more = len(keys) > most
    last = keys[:most][-1] if keys else ""
    token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" * more
    body = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        f"{''.join(parts)}</ListBucketResult>"
    ).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()

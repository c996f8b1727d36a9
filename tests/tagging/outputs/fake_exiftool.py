"""A stand-in for ExifTool that knows `-stay_open`, JPEG, and how to read and write a packet.

Beside it may lie a file `behaviour`: `refuse`, `hang`, `die`, `pixels` or `forget`. It notes every
command in the file `commands`.
"""

import io
import json
import sys
import time
from pathlib import Path

from PIL import Image

HEADER = b"http://ns.adobe.com/xap/1.0/\0"
HERE = Path(__file__).parent


def packet_of(data: bytes) -> bytes:
    start = data.find(HEADER)
    if start < 0:
        return b""
    size = int.from_bytes(data[start - 2 : start], "big")
    return data[start + len(HEADER) : start - 2 + size]


def with_packet(data: bytes, packet: bytes) -> bytes:
    start = data.find(HEADER)
    if start >= 0:
        size = int.from_bytes(data[start - 2 : start], "big")
        data = data[: start - 4] + data[start - 2 + size :]
    if not packet:
        return data
    body = HEADER + packet
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def command(arguments: list[str], behaviour: str) -> None:
    path = Path(arguments[-1])
    if arguments[:2] == ["-b", "-XMP"]:
        sys.stdout.buffer.write(packet_of(path.read_bytes()))
        return
    if behaviour == "hang":
        time.sleep(60)
    if behaviour == "die":
        sys.exit(1)
    if behaviour == "refuse":
        sys.stderr.write(f"Error: Format error - {path}\n")
        sys.stdout.write("    0 image files updated\n")
        return
    source = arguments[1].partition("<=")[2]
    packet = Path(source).read_bytes() if source else b""
    if behaviour == "forget":
        packet = packet.replace(b"<rdf:li>dog</rdf:li>", b"")
    data = path.read_bytes()
    if behaviour == "pixels":
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).rotate(180).save(buffer, "JPEG")
        data = buffer.getvalue()
    path.write_bytes(with_packet(data, packet))
    sys.stdout.write("    1 image files updated\n")


def main() -> None:
    assert sys.argv[1:] == ["-config", "", "-stay_open", "True", "-@", "-"]
    arguments: list[str] = []
    for line in sys.stdin.buffer:
        argument = line.decode("utf-8", "surrogateescape").rstrip("\n")
        if not argument.startswith("-execute"):
            arguments.append(argument)
            if arguments == ["-stay_open", "False"]:
                return
            continue
        with (HERE / "commands").open("a") as log:
            log.write(json.dumps(arguments) + "\n")
        told = HERE / "behaviour"
        command(arguments, told.read_text() if told.exists() else "")
        sys.stdout.write("{ready%s}\n" % argument.removeprefix("-execute"))  # noqa: UP031
        sys.stdout.flush()
        arguments = []


if __name__ == "__main__":
    main()

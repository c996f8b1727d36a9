"""Camera raw files in Adobe's DNG, made tag by tag."""

import struct
from typing import Any

import numpy as np

Tag = tuple[int, int, Any]  # number, type, values

_CAMERA: list[Tag] = [
    (271, 2, b"Maker\0"),
    (272, 2, b"Model\0"),
    (50706, 1, b"\1\4\0\0"),  # DNGVersion
    (50708, 2, b"Maker Model\0"),
    (50721, 10, [(int(i % 4 == 0), 1) for i in range(9)]),  # ColorMatrix1
    (50728, 5, [(1, 1)] * 3),  # AsShotNeutral
    (50778, 3, [21]),  # CalibrationIlluminant1: D65
]


def sensor(height: int = 256, width: int = 384) -> np.ndarray:
    """What a sensor of red, green, green and blue fields sees of something red."""
    levels = np.full((height, width), 9000, np.uint16)
    levels[::2, ::2], levels[1::2, 1::2] = 50000, 4000
    return levels


def dng(
    levels: np.ndarray,
    *,
    preview: bytes | None = None,
    preview_size: tuple[int, int] = (0, 0),
    orientation: int = 1,
) -> bytes:
    """A DNG of sensor levels (H, W) uint16, behind a JPEG preview if there is one."""
    camera = [*_CAMERA, (274, 3, [orientation])]
    height, width = levels.shape
    raw = levels.astype("<u2").tobytes()

    def built(subfile: int, jpeg_start: int, raw_start: int) -> tuple[bytes, tuple[int, int, int]]:
        of_sensor: list[Tag] = [
            *[(254, 4, [0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [16])],
            *[(259, 3, [1]), (262, 3, [32803]), (273, 4, [raw_start]), (277, 3, [1])],
            *[
                (278, 4, [height]),
                (279, 4, [len(raw)]),
                (33421, 3, [2, 2]),
                (33422, 1, b"\0\1\1\2"),
            ],
            (50717, 4, [65535]),
        ]
        content = b"II*\0" + struct.pack("<I", 8)
        if preview is None:
            content += _directory([*of_sensor, *camera], 8)
            return content + raw, (0, 0, len(content))
        across, down = preview_size
        of_preview: list[Tag] = [
            *[(254, 4, [1]), (256, 4, [across]), (257, 4, [down]), (258, 3, [8, 8, 8])],
            *[(259, 3, [7]), (262, 3, [6]), (273, 4, [jpeg_start]), (277, 3, [3])],
            *[(278, 4, [down]), (279, 4, [len(preview)]), (330, 4, [subfile])],
        ]
        content += _directory([*of_preview, *camera], 8)
        starts = [len(content)]
        content += _directory(of_sensor, len(content))
        for part in (preview + bytes(len(preview) % 2), raw):
            starts.append(len(content))
            content += part
        return content, (starts[0], starts[1], starts[2])

    return built(*built(0, 0, 0)[1])[0]


def _directory(tags: list[Tag], start: int) -> bytes:
    """A directory of TIFF that begins at byte `start`, with what does not fit into it behind it."""
    place = start + 6 + 12 * len(tags)
    entries, rest = struct.pack("<H", len(tags)), b""
    for number, kind, values in sorted(tags, key=lambda tag: tag[0]):
        if isinstance(values, bytes):
            body = values
        elif kind in (5, 10):
            body = b"".join(struct.pack("<ii", *value) for value in values)
        else:
            body = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        field = body.ljust(4, b"\0")
        if len(body) > 4:
            field = struct.pack("<I", place + len(rest))
            rest += body + bytes(len(body) % 2)
        entries += struct.pack("<HHI", number, kind, len(values)) + field
    return entries + bytes(4) + rest

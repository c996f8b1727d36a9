"""ICC profiles, made byte by byte."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def xyz(*numbers: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*numbers)


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def table(linear: np.ndarray) -> bytes:
    levels = np.round(linear * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(levels)) + levels.tobytes()


def formula(kind: int, *numbers: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*numbers)


def srgb_light(stored: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


SRGB_FORMULA = formula(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SRGB_TABLE = table(srgb_light(np.linspace(0, 1, 1024)))


def profile(tags: dict[bytes, bytes], *, space: bytes, pcs: bytes = b"XYZ ", kind=b"mntr") -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(80),
        b"cprt": b"text\0\0\0\0x\0",
        b"wtpt": xyz(*D50),
        **tags,
    }
    bodies = [body + bytes(-len(body) % 4) for body in tags.values()]
    starts = np.cumsum([132 + 12 * len(tags), *map(len, bodies)]).tolist()
    directory = struct.pack(">I", len(tags)) + b"".join(
        name + struct.pack(">II", start, len(body))
        for name, start, body in zip(tags, starts, bodies, strict=False)
    )
    header = struct.pack(">I4sI4s4s4s", starts[-1], b"", 0x02400000, kind, space, pcs)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*D50)
    return header + bytes(128 - len(header)) + directory + b"".join(bodies)


def of_primaries(primaries, curve: bytes) -> bytes:
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {name: xyz(*values) for name, values in zip(names, primaries, strict=True)}
    return profile(tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), space=b"RGB ")


def of_grey(curve: bytes) -> bytes:
    return profile({b"kTRC": curve}, space=b"GRAY")


def of_inks(lab_of) -> bytes:
    """A profile of a printing press: `lab_of` says what each of the 16 full mixtures looks like."""
    corners = [lab_of(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = bytes(
        round(min(max(number, 0), 255))
        for lightness, a, b in corners
        for number in (lightness * 2.55, a + 128, b + 128)
    )
    straight = bytes(range(256))
    body = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    body += straight * 4 + grid + straight * 3
    return profile({b"A2B0": body}, space=b"CMYK", pcs=b"Lab ", kind=b"prtr")

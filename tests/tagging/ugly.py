"""A folder of every kind of file that has ever stopped a tagger."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.images.encoded import encode, huge_png, noise, picture


def fill_with_ugly_files(folder: Path) -> dict[str, str | None]:
    """Make the files; gives each one's name and a part of the reason why it must fail, or None."""
    files: dict[str, tuple[bytes, str | None]] = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is not a picture\n" * 30, "not an image"),
        "html.png": (b"<!doctype html><title>404</title>", "not an image"),
        "zeros.png": (bytes(5000), "not an image"),
        "header-only.jpg": (encode(noise(), "JPEG")[:30], "truncated"),
        "huge.png": (huge_png(), "too large"),
        "cmyk.jpg": (encode(picture().convert("CMYK"), "JPEG"), None),
        "cmyk.tif": (encode(picture().convert("CMYK"), "TIFF"), None),
        "grey.jpg": (encode(picture().convert("L"), "JPEG"), None),
        "one-bit.png": (encode(picture().convert("1"), "PNG"), None),
        "palette.gif": (encode(picture().convert("P"), "GIF"), None),
        "alpha.png": (encode(picture().convert("RGBA"), "PNG"), None),
        "alpha.webp": (encode(picture().convert("RGBA"), "WEBP"), None),
        "sixteen-bit.png": (encode(sixteen_bits(), "PNG"), None),
        "sixteen-bit.tif": (encode(sixteen_bits(), "TIFF"), None),
        "one-pixel.png": (encode(Image.new("RGB", (1, 1)), "PNG"), None),
        "strip.png": (encode(Image.new("RGB", (3, 20_000)), "PNG"), None),
        "jpeg-named.png": (encode(picture(), "JPEG"), None),
        "UPPER.JPG": (encode(picture(), "JPEG"), None),
        "with space, comma.jpg": (encode(picture(), "JPEG"), None),
        "日本 ünïcödé.jpg": (encode(picture(), "JPEG"), None),
        "new\nline.jpg": (encode(picture(), "JPEG"), None),
        "tab\tand\x1b[31mcolor.jpg": (b"text", "not an image"),
        "sub/deeper/fine.bmp": (encode(picture(), "BMP"), None),
    }
    for name, kept in (("JPEG", 0.5), ("PNG", 0.5), ("WEBP", 0.5), ("GIF", 0.5), ("JPEG", 0.97)):
        data = encode(noise(), name)
        cut = data[: int(len(data) * kept)]
        files[f"truncated-{kept}.{name.lower()}"] = (cut, "truncated")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"exif-{orientation}.jpg"] = (encode(picture(), "JPEG", exif=exif), None)
    for name, (data, _) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "notes.txt").write_text("no image by its name")
    (folder / ".hidden.jpg").write_bytes(b"")
    reasons = {name: reason for name, (_, reason) in files.items()}
    for make in (_link_loops, _locked_file, _name_that_is_not_utf8):
        reasons |= make(folder)
    return reasons


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60))


def _link_loops(folder: Path) -> dict[str, str | None]:
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    return {"itself.jpg": "symbolic links", "dangling.jpg": "not there"}


def _locked_file(folder: Path) -> dict[str, str | None]:
    if os.geteuid() == 0:
        return {}  # root may read everything
    (folder / "locked.jpg").touch(mode=0)
    (folder / "locked").mkdir(mode=0)
    return {"locked.jpg": "Permission denied", "locked/": "Permission denied"}


def _name_that_is_not_utf8(folder: Path) -> dict[str, str | None]:
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        (folder / name).write_bytes(encode(picture(), "JPEG"))
    except OSError:
        return {}  # this file system takes UTF-8 names only
    return {name: None}

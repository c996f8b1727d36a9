"""What colour profiles cost, and how near the colours come to those of the same photograph in sRGB.

Photographs of a folder are enlarged to 12 megapixels and saved as JPEG: without a profile, with
sRGB's, and converted to others. Times are those of decoding and cropping to 224 pixels, in turn.

    python benchmarks/profiles.py IMAGES
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from tests.images import icc
from twlcli.images.preprocess import load_crop
from twlcli.model.preprocessing import Preprocessing

PHOTOS, ROUNDS = 12, 7
FORM = Preprocessing(resize=256, crop=224)
PROFILES = {
    "none": None,
    "sRGB": icc.of_primaries(icc.SRGB, icc.SRGB_TABLE),
    "Display P3": icc.of_primaries(icc.P3, icc.SRGB_FORMULA),
    "Adobe RGB": icc.of_primaries(icc.ADOBE, icc.gamma(2.19921875)),
    "ProPhoto RGB": icc.of_primaries(icc.PROPHOTO, icc.gamma(1.8)),
    "linear": icc.of_primaries(icc.SRGB, icc.gamma(1.0)),
}


def saved(photo: Image.Image, profile: bytes | None, path: Path) -> Path:
    if profile is not None and profile != PROFILES["sRGB"]:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), target)
        assert converted is not None
        photo = converted
    photo.save(path, "JPEG", quality=92, icc_profile=profile)
    return path


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        files: dict[str, list[Path]] = {each: [] for each in PROFILES}
        for number, path in enumerate(sorted(folder.rglob("*.jpg"))[:PHOTOS]):
            photo = Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
            for each, profile in PROFILES.items():
                files[each].append(saved(photo, profile, Path(name, f"{number} {each}.jpg")))
        crops = {
            each: [np.asarray(load_crop(p, None, FORM)) for p in files[each]] for each in files
        }
        ratios: dict[str, list[float]] = {each: [] for each in PROFILES}
        for _ in range(ROUNDS):
            for number in range(len(files["none"])):
                seconds = {}
                for each in PROFILES:
                    start = time.perf_counter()
                    load_crop(files[each][number], None, FORM)
                    seconds[each] = time.perf_counter() - start
                for each in PROFILES:
                    ratios[each].append(seconds[each] / seconds["none"])
        for each in PROFILES:
            errors = [
                np.square(a.astype(float) - b).mean()
                for a, b in zip(crops[each], crops["none"], strict=True)
            ]
            near = "the same" if not any(errors) else f"{psnr(errors):.1f} dB"
            print(f"{each:14} {statistics.median(ratios[each]):.2f} of the time  {near}")


def psnr(errors: list[float]) -> float:
    return float(10 * np.log10(255**2 / np.mean(errors)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

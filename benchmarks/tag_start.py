"""How long `twl tag` takes for one photograph, against `import torch` alone, in turn.

Seconds of the whole process, medians; the default model.

    python benchmarks/tag_start.py PHOTOGRAPH [--rounds 9]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from processes import cost_of


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photograph")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", str(Path(folder, "tags.csv")), "--force"]
        tag = [sys.executable, "-m", "twlcli", "tag", options.photograph, *out]
        commands = {"twl tag": tag, "import torch": [sys.executable, "-c", "import torch"]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(1 + options.rounds):
            for name, command in commands.items():
                cost = cost_of(command)
                if number:  # the first one finds the files on the disk
                    seconds[name].append(cost.seconds)
    ours, theirs = median(seconds["twl tag"]), median(seconds["import torch"])
    print(f"twl tag {ours:.2f} s, import torch {theirs:.2f} s: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()

"""Train, evaluate and export a tagger from Python.

Run it as a script, or cell by cell in an editor that knows `# %%`. It needs the `train` extra and
takes about half a minute on a CPU; the model is small and hardly trained.
"""

# %% A sample set
import subprocess
import sys
from pathlib import Path

import twlcli

if not Path("shapes").exists():
    sample = "data sample shapes --images 400"
    subprocess.run([sys.executable, "-m", "twlcli", *sample.split()], check=True)

# %% What is in the labels?
labels = twlcli.read_labels("shapes")
counts = dict(zip(labels.vocabulary.names, labels.labels.present_per_label(), strict=True))
print({label: int(count) for label, count in sorted(counts.items(), key=lambda each: -each[1])})

# %% Train: a bundled recipe, with two settings changed
run = twlcli.train(
    "shapes",
    out="runs/shapes",
    recipe="shapes-small",
    settings={"schedule.epochs": 2, "loss.name": "two-way"},
)
for record in run.history():
    print(f"epoch {record['epoch']}: mAP@class {100 * record['map_class']:.2f}")

# %% Evaluate on the validation split
evaluation = twlcli.evaluate(run.folder)
print(f"mAP@class {100 * evaluation.map_class.value:.2f} over {evaluation.map_class.lines} labels")
print(f"OF1 {100 * evaluation.at_threshold.overall_f1:.2f} at the fitted thresholds")

# %% Export to one file, which needs no PyTorch any more
exported = twlcli.export(run.folder, "shapes.onnx")
print(f"{exported.path}: {exported.size / 1e6:.1f} MB, off by {exported.difference:.1e} from torch")

# %% And use it
tagger = twlcli.load_model("shapes.onnx", top_k=3)
print(tagger.tag(["shapes/images/00000.jpg"])[0].to_dict())

"""Tag images from Python: one by one, and whole folders.

Run it as a script, or cell by cell in an editor that knows `# %%`. It needs twl without extras.
"""

# %% A sample set, and the demo model that comes with twl
import subprocess
import sys
from pathlib import Path

import twlcli
from twlcli.outputs import Csv, Gallery, TxtSidecars

if not Path("shapes").exists():
    sample = "data sample shapes --images 100"
    subprocess.run([sys.executable, "-m", "twlcli", *sample.split()], check=True)
images = sorted(Path("shapes/images").glob("*.jpg"))

# %% A model in this process: paths, bytes, Pillow images or arrays in, labels out
model = Path(__file__).parents[1] / "models/shapes-small/model.onnx"  # put your own here

tagger = twlcli.load_model(model)
for path, prediction in zip(images[:3], tagger.tag(images[:3]), strict=True):
    shown = ", ".join(f"{label} {p:.2f}" for label, p in prediction.to_dict().items())
    print(f"{path.name}: {shown}")

# %% All probabilities as an array, (N, C)
probabilities = tagger.predict_proba(images[:3])
print(tagger.labels, probabilities.round(2), sep="\n")

# %% Only labels that are right nine times out of ten
strict = twlcli.load_model(model, threshold="precision=0.9", top_k=3)
print(strict.tag(images[:3]))

# %% A damaged image is an error in its place
print(tagger.tag([b"this is not an image"])[0].error)

# %% A whole folder, into several outputs; run it again, and only new images are computed
tally = twlcli.tag_files(
    ["shapes/images"],
    model=model,
    outputs=[Csv(Path("tags.csv")), Gallery(Path("gallery.html")), TxtSidecars()],
)
print(f"{tally.tagged} tagged, {tally.failed} failed, {tally.stored} as before")

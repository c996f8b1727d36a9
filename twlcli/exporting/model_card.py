"""The model card of a bundle for Hugging Face's libraries: its `README.md`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twlcli.labels import counted
from twlcli.model.decisions import thresholds_of
from twlcli.model.spec import ModelSpec

_MOST_LABELS = 500  # in the table; all are in thresholds.json
_LONGEST = 80  # characters of a label in the table
_SCORES = {"map_class": "mAP@class", "map_sample": "mAP@sample"}

_CARD = """\
---
library_name: timm
pipeline_tag: image-classification
tags:
- image-classification
- multi-label
- timm
- transformers
- transformers.js
---

# {title}

A multi-label image tagger: `{backbone}` at {side} pixels with {labels}, trained with
twl{version}. Its logits are calibrated, so their sigmoid is the probability of each label, and each
label has a threshold of its own, in `thresholds.json`.
{facts}
## How to use it

In this folder, with timm:

```python
import json

import timm
import torch
from PIL import Image, ImageOps

model = timm.create_model("local-dir:.", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with open("thresholds.json", encoding="utf-8") as file:
    thresholds = json.load(file)
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
with torch.inference_mode():
    probabilities = model(transform(image)[None]).sigmoid()[0].tolist()
for (label, threshold), probability in zip(thresholds.items(), probabilities):
    if probability >= threshold:
        print(f"{{label}} {{probability:.2f}}")
```

With transformers, which gives the probabilities of all labels:

```python
from transformers import pipeline

tagger = pipeline("image-classification", model=".", top_k=None)
print(tagger("image.jpg"))
```

With transformers.js, whose pipeline would make the probabilities sum to 1:

```js
import {{ AutoImageProcessor, AutoModel, RawImage }} from "@huggingface/transformers";

const processor = await AutoImageProcessor.from_pretrained(name);
const model = await AutoModel.from_pretrained(name, {{ dtype: "fp32" }});
const image = await RawImage.read("image.jpg");
const {{ logits }} = await model({{ pixel_values: (await processor(image)).pixel_values }});
const probabilities = logits.sigmoid().tolist()[0];
```

With `dtype: "q8"` it takes `onnx/model_quantized.onnx`, which is smaller. On images of noise its
probabilities differ from these by up to {difference:.2f}; on photographs that was not measured.

With twl, which applies the thresholds: `twl tag photos --model .`

## Labels

A label is given where its probability is at least the threshold, which was fitted for the best F1.

| label | threshold |
|---|---|
{rows}
"""


def model_card(spec: ModelSpec, difference: float) -> str:
    """The card of a model.

    Args:
        spec: its, with thresholds.
        difference: largest, of a probability of the quantised file on images of noise.
    """
    labels = counted(len(spec.vocabulary), "label", "labels")
    version = spec.provenance.get("twl")
    return _CARD.format(
        title=f"{spec.backbone.rpartition(':')[2]} for {labels}",
        backbone=spec.backbone,
        side=spec.preprocessing.crop,
        labels=labels,
        version=f" {_cell(str(version))}" if version else "",
        difference=difference,
        facts="".join(f"\n{fact}\n" for fact in _facts(spec)),
        rows="\n".join(_rows(spec)),
    )


def _facts(spec: ModelSpec) -> Iterator[str]:
    """Scores, and what the training began with, as far as they are known."""
    measured: Any = spec.provenance.get("validation")
    if isinstance(measured, dict):
        scores = [
            f"{name} {100 * measured[key]:.2f}"
            for key, name in _SCORES.items()
            if isinstance(measured.get(key), float)
        ]
        if scores:
            yield (
                f"On its validation images, to which calibration and thresholds were fitted too: "
                f"{', '.join(scores)}."
            )
    weights: Any = spec.provenance.get("weights")
    if isinstance(weights, dict) and weights.get("source"):
        yield (
            f"The training began with the weights of {_cell(str(weights['source']))} "
            f"(licence: {_cell(str(weights.get('licence')))})."
        )


def _rows(spec: ModelSpec) -> Iterator[str]:
    thresholds = thresholds_of(spec, None).tolist()
    for name, threshold in list(zip(spec.vocabulary, thresholds, strict=True))[:_MOST_LABELS]:
        shown = f"{threshold:.3f}" if threshold <= 1 else "never given"
        yield f"| {_cell(name)} | {shown} |"
    if len(thresholds) > _MOST_LABELS:
        yield f"| … and {len(thresholds) - _MOST_LABELS:,} more, see `thresholds.json` | |"


def _cell(text: str) -> str:
    r"""A text as it stands, and on one line: nothing in it is Markdown or HTML.

    Example:
        >>> _cell("a|b <i>_c_")
        'a\\|b &lt;i&gt;\\_c\\_'
    """
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in r"\`*_[]|~" else letter for letter in text)

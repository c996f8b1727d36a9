"""A model as a folder that a web server shows as a page which tags images."""

from __future__ import annotations

import json
from pathlib import Path

from twlcli.exporting.onnx import export
from twlcli.exporting.web_runtime import LICENCE, RUNTIME_FILES, runtime_files
from twlcli.labels import counted
from twlcli.model.decisions import thresholds_of
from twlcli.model.spec import ModelSpec
from twlcli.pages.templates import digest, part, render_page, style_of

_SCRIPTS = ("tagger.js", "resample.js")
_LICENCE = "LICENSE-onnxruntime-web.txt"
FILES = ("index.html", "model.onnx", "model.json", *_SCRIPTS, *RUNTIME_FILES, _LICENCE)
NOTE = (
    "serve the folder, such as with: python -m http.server; browsers decode JPEG a little "
    "differently, and PNG exactly"
)
# Compiling WebAssembly is the one thing beyond files of the page's own server.
_POLICY = "script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src blob:; style-src "


def write_web(
    source: Path, spec: ModelSpec, folder: Path, *, runtime: Path | None, allow_code: bool
) -> None:
    """Write the files of the bundle into a folder.

    Args:
        source: run folder or checkpoint.
        spec: its.
        folder: where they go; it is there, and empty.
        runtime: a folder with the files of onnxruntime-web; None fetches them.
        allow_code: import a backbone `module:function` that the checkpoint names.

    Raises:
        ModelError: as `export`.
        TwlError: onnxruntime-web cannot be read or fetched.
    """
    for name, content in runtime_files(runtime).items():
        (folder / name).write_bytes(content)
    (folder / _LICENCE).write_text(LICENCE, encoding="utf-8")
    export(source, folder / "model.onnx", allow_code=allow_code)
    preprocessing = spec.preprocessing
    model = {
        "labels": list(spec.vocabulary),
        "thresholds": thresholds_of(spec, None).tolist(),
        "preprocessing": {
            "resize": preprocessing.resize,
            "crop": preprocessing.crop,
            "interpolation": preprocessing.interpolation,
        },
    }
    (folder / "model.json").write_text(json.dumps(model, ensure_ascii=False), encoding="utf-8")
    for name in _SCRIPTS:
        (folder / name).write_text(part(f"exporting/web/{name}"), encoding="utf-8")
    style = style_of("exporting/web/page.css")
    page = render_page(
        "exporting/web/page.html",
        title=f"Tags by {spec.backbone}, {counted(len(spec.vocabulary), 'label', 'labels')}",
        style=style,
        policy=_POLICY + digest(style),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")

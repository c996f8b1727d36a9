"""`twl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twlcli.errors import MissingExtraError


def export(
    run: Annotated[Path, typer.Argument(help="Run folder, or a .safetensors checkpoint.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file [default: RUN/model.onnx]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write one ONNX file with labels, preprocessing, calibration and thresholds inside.

    Example: twl export runs/photos --out photos.onnx
    """
    try:
        from twlcli.deploy.export import CHECKED_BATCHES
        from twlcli.deploy.export import export as export_model
    except ModuleNotFoundError:
        raise MissingExtraError("exporting", "train") from None
    from twlcli.cli.console import err

    folder = run if run.is_dir() else run.parent
    exported = export_model(run, out or folder / "model.onnx", force=force)
    batches = ", ".join(map(str, CHECKED_BATCHES))
    err.print(
        f"{exported.path}: {exported.size / 1e6:.1f} MB, {len(exported.spec.vocabulary)} labels; "
        f"torch and ONNX Runtime differ by at most {exported.difference:.1e} "
        f"in logits of up to {exported.scale:.1f} (batches {batches})"
    )

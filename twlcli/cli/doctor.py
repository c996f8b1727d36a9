"""`twl doctor`: versions, devices and what twl will use."""

from __future__ import annotations

from typing import Annotated

import typer

_PACKAGES = (
    ("", ("numpy", "pillow", "onnxruntime", "typer", "rich", "pydantic", "jinja2")),
    ("train", ("torch", "torchvision", "onnx", "onnxscript", "safetensors")),
    ("timm", ("timm",)),
    ("hub", ("huggingface_hub",)),
    ("check", ("imagehash",)),
    ("parquet", ("pyarrow",)),
    ("heic", ("pillow-heif",)),
    ("raw", ("rawpy",)),
    ("jxl", ("pillow-jxl-plugin",)),
    ("pdf", ("svglib",)),
)


def doctor(
    backbones: Annotated[
        bool, typer.Option("--backbones", help="List the networks for --backbone.")
    ] = False,
) -> None:
    """Show versions, devices and what twl will use.

    Example: twl doctor
    """
    import platform

    from twlcli import __version__
    from twlcli.cli.console import out

    if backbones:
        _list_backbones()
        return
    out.print(f"twl {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for extra, packages in _PACKAGES:
        found = {package: _version(package) for package in packages}
        out.print(f"{f'extra {extra}' if extra else 'base'}: " + ", ".join(_shown(found)))
        if extra and None in found.values():
            out.print(f"  install all of it: pip install 'twlcli[{extra}]'")
    _show_tagging()
    _show_training()


def _show_tagging() -> None:
    from twlcli.cli.console import out
    from twlcli.errors import ModelError
    from twlcli.model.bundled import default_model
    from twlcli.model.onnx import available_providers

    providers = available_providers()
    out.print(f"ONNX Runtime providers: {', '.join(providers)}")
    out.print(f"twl tag will use: {providers[0]}")
    try:
        out.print(f"default model: {default_model()}")
    except ModelError as error:
        out.print(f"default model: {error}")


def _show_training() -> None:
    from twlcli.cli.console import out

    try:
        import torch

        from twlcli.model.torch import pick_device
        from twlcli.training.devices import has_bf16
    except ModuleNotFoundError:
        out.print("twl train: not installed")
        return
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        out.print(f"cuda:{number}: {properties.name}, {memory}")
    device = pick_device()
    precision = "bf16" if has_bf16(device) else "float32 (no bf16 in the hardware)"
    out.print(f"twl train will use: {device}, {torch.get_num_threads()} threads, {precision}")


def _list_backbones() -> None:
    from twlcli.cli.console import out
    from twlcli.errors import needs_extra

    with needs_extra("training", "train"):
        from twlcli.model.backbones import backbone_names
    for name in backbone_names():
        out.print(name)
    if _version("timm") is not None:
        from timm import list_models

        for name in list_models():
            out.print(f"timm:{name}", markup=False, emoji=False)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(found: dict[str, str | None]) -> list[str]:
    return [f"{package} {number or 'not installed'}" for package, number in found.items()]

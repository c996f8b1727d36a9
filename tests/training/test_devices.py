from dataclasses import replace

import pytest
import torch

from twlcli.errors import DeviceError, RecipeError
from twlcli.model.torch import pick_device
from twlcli.recipe.sections import TrainRecipe
from twlcli.training import devices
from twlcli.training.devices import (
    Ranks,
    autocast_dtype,
    check_batch,
    check_parallel,
    device_errors,
    has_bf16,
    joined_ranks,
    loader_workers,
)

ALONE = Ranks(torch.device("cpu"))


def test_device_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in ("cuda", "mps", "cpu")
    with pytest.raises(DeviceError, match="device 'tpu' is not known; expected auto, cuda"):
        pick_device("tpu")
    with pytest.raises(DeviceError, match="device 'cuda:99' is not available here"):
        pick_device("cuda:99")


def test_bf16_is_used_only_where_the_hardware_has_it():
    cpu = torch.device("cpu")
    assert autocast_dtype("float32", cpu) is None
    if has_bf16(cpu):
        assert autocast_dtype("auto", cpu) == autocast_dtype("bf16", cpu) == torch.bfloat16
    else:
        assert autocast_dtype("auto", cpu) is None
        with pytest.raises(
            DeviceError,
            match="bf16 is not supported by this cpu device",
        ):
            autocast_dtype("bf16", cpu)


def test_alone_there_is_one_rank():
    with joined_ranks("cpu") as ranks:
        assert (ranks.rank, ranks.world, ranks.group, ranks.first) == (0, 1, None, True)
        assert ranks.gather("own") == ["own"]
        assert ranks.any(True)
        assert not ranks.any(False)


def test_workers_are_as_asked_or_suit_the_machine():
    assert loader_workers(0, ALONE) == 0
    assert loader_workers(5, ALONE) == 5
    assert 1 <= loader_workers(-1, ALONE) <= 16


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_a_recipe_starts_no_more_than_the_machine_bears(monkeypatch, name):
    monkeypatch.setattr(devices, "usable_cores", lambda: 4)

    def recipe(count: int) -> TrainRecipe:
        return TrainRecipe.model_validate({name: count})

    for count in (0, 1, 32):
        check_parallel(recipe(count), ALONE)
    message = rf"train\.{name} is 33; at most 32 are started on 4 cores"
    with pytest.raises(RecipeError, match=message):
        check_parallel(recipe(33), ALONE)
    with pytest.raises(RecipeError, match="at most 16 are started"):
        check_parallel(recipe(1024), replace(ALONE, world=8, neighbours=8))


def test_running_out_of_memory_says_which_batch_to_try():
    advice = r"512 images at once; `micro_batch` 256 leaves the loss as it is$"
    with pytest.raises(DeviceError, match=advice), device_errors(512, 224):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(DeviceError, match="out of memory"), device_errors(512, 224):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="something else"), device_errors(512, 224):
        raise RuntimeError("something else")


def test_every_rank_needs_an_image():
    with pytest.raises(RecipeError, match=r"batch size 3 .* 4 ranks"):
        check_batch(3, 100, Ranks(torch.device("cpu"), world=4))
    with pytest.raises(RecipeError, match=r"3 training images .* 4 ranks"):
        check_batch(64, 3, Ranks(torch.device("cpu"), world=4))
    check_batch(64, 4, Ranks(torch.device("cpu"), world=4))


@pytest.mark.parametrize(
    ("layer", "size", "message"),
    [
        (torch.nn.Conv2d(3, 1, 9), 8, "does not take images of 8 pixels .*; a larger `size`"),
        (torch.nn.MaxPool2d(9), 8, "does not take images of 8 pixels .*; a larger `size`"),
        (torch.nn.BatchNorm2d(3), 1, "batch norm cannot normalise one image at a time at 1 pixels"),
    ],
)
def test_sizes_that_a_network_does_not_take_are_told(layer, size, message):
    with pytest.raises(RecipeError, match=message), device_errors(1, size):
        layer(torch.zeros(1, 3, size, size))


def test_a_gpu_out_of_order_is_one_line():
    message = r"the GPU cannot be used \(CUDA error: busy\)$"
    with pytest.raises(DeviceError, match=message), device_errors(1, 8):
        raise RuntimeError("CUDA error: busy\nCompile with TORCH_USE_CUDA_DSA")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            "[/src/gloo/tcp/pair.cc:545] Read error [::1]:88: Connection reset by peer. This is "
            "typically caused by a remote worker hanging or bugs in the application. Good luck!",
            r"Read error \[::1\]:88: Connection reset by peer",
        ),
        ("NCCL error in: /src/NCCLUtils.cpp:9\nsecond line", "NCCL error in: /src/NCCLUtils.cpp:9"),
        ("Gloo connectFullMesh failed", "Gloo connectFullMesh failed"),
    ],
)
def test_a_lost_rank_is_told_without_the_advice_of_the_library(told, reason):
    message = rf"^the connection to another rank is lost \({reason}\); its own output says why, "
    with pytest.raises(DeviceError, match=message), device_errors(1, 8):
        raise RuntimeError(told)


def test_a_rank_that_is_lost_between_steps_is_told(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "0")
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("TORCHELASTIC_RUN_ID", "here")):
        monkeypatch.setenv(name, value)
    message = "the connection to another rank is lost"
    with pytest.raises(DeviceError, match=message), joined_ranks("cpu") as ranks:
        assert ranks.world == 1 and ranks.group is not None
        raise RuntimeError("gloo: Connection closed by peer")

"""Tagging with Ray, on a cluster of this machine: the same rows as without it, each once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from twlcli.errors import DeviceError, TwlError
from twlcli.tagging.run import tag_files

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")

import psutil  # type: ignore[import-untyped, unused-ignore]
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import ray

from twlcli.cluster.engine import Cluster, Shares
from twlcli.cluster.parts import Parts
from twlcli.cluster.run import tag_on_ray

# What Ray says of its own settings whenever they are copied, and of files that it leaves open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is deprecated"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # A thread of Ray's, whose queue was closed before it had said that all is done.
    pytest.mark.filterwarnings("ignore:Exception in thread .*completion-signaler"),
]

COLUMNS = ["image", "labels", "probabilities"]
MANY = 1200


@pytest.fixture(scope="module")
def cluster():
    # Ray's workers give way to everything else, and would hardly move beside other tests.
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("images")
    for number in range(150):
        name = f"{number % 7}/{number}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        shade = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
        Image.new("RGB", (40 + number % 9, 50), shade).save(folder / name)
    (folder / "bad.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def many(images, tmp_path_factory) -> Path:
    """As many links to some large images as keep workers busy for a while."""
    folder: Path = tmp_path_factory.mktemp("many")
    generator = Image.effect_noise((900, 700), 80).convert("RGB")
    for number in range(10):
        generator.rotate(number).save(folder / f"{number}.jpg")
    for number in range(10, MANY):
        os.link(folder / f"{number % 10}.jpg", folder / f"{number}.jpg")
    return folder


def tagged(folder: Path) -> pyarrow.Table:
    """The rows with tags in a folder of parts, by name."""
    parts = pyarrow.dataset.dataset(folder / "outcome=tagged")
    return parts.to_table(columns=COLUMNS).sort_by("image").combine_chunks()


def failures(folder: Path) -> dict[str, str]:
    rows = pyarrow.dataset.dataset(folder / "outcome=failed").to_table().to_pylist()
    return {row["image"]: row["error"] for row in rows}


def alone(source: Path, out: Path, **options: Any) -> pyarrow.Table:
    """The rows of the same images without Ray."""
    tag_files([source], outputs=[out], journal=None, **options)
    return pyarrow.parquet.read_table(out, columns=COLUMNS).sort_by("image").combine_chunks()


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"threshold": 0.2, "exact": True}], ids=str)
def test_rows_equal_those_of_one_machine(images, cluster, tmp_path, options):
    tally = tag_on_ray([images], tmp_path / "parts", **options)
    assert (tally.tagged, tally.failed, tally.stored) == (150, 1, 0)
    found = tagged(tmp_path / "parts")
    expected = alone(images, tmp_path / "one.parquet", **options)
    assert found.cast(expected.schema).equals(expected)
    assert any(map(len, found["labels"].to_pylist()))
    assert list(failures(tmp_path / "parts")) == ["bad.jpg"]


def test_tag_rules_and_members_of_tars(images, cluster, tmp_path):
    (tmp_path / "rules.toml").write_text('prefix = "auto:"\n')
    tar = tmp_path / "some.tar"
    subprocess.run(["tar", "-cf", str(tar), "-C", str(images), "0", "1"], check=True)
    options: dict[str, Any] = {"rules": tmp_path / "rules.toml", "top_k": 2}
    tag_on_ray([tar], tmp_path / "parts", **options)
    expected = alone(tar, tmp_path / "one.parquet", **options)
    assert tagged(tmp_path / "parts").cast(expected.schema).equals(expected)
    assert expected["labels"][0].as_py()[0].startswith("auto:")


def test_a_complete_folder_takes_only_what_is_new(images, cluster, tmp_path):
    parts, more = tmp_path / "parts", tmp_path / "more"
    tag_on_ray([images / "0"], parts, include=["*[02468].png"])
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("outcome=*/*.parquet")}
    tally = tag_on_ray([images / "0"], parts)
    assert 0 < tally.stored < tally.tagged == len(list((images / "0").iterdir()))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    expected = alone(images / "0", tmp_path / "one.parquet")
    assert tagged(parts).cast(expected.schema).equals(expected)
    again = tag_on_ray([images / "0"], parts)
    assert again.stored == again.tagged == tally.tagged
    assert not more.exists()


def test_one_folder_alone_and_a_list_are_taken(images, cluster, tmp_path):
    assert tag_on_ray(str(images / "0"), tmp_path / "a", exclude="*.jpg").tagged > 0
    (tmp_path / "list.txt").write_text(f"{images / '0/0.png'}\n")
    assert tag_on_ray([], tmp_path / "b", lists=tmp_path / "list.txt").tagged == 1
    with pytest.raises(TwlError, match="nothing to tag"):
        tag_on_ray([], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def when_parts_are_there(folder: Path, count: int, then) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 120
        while len(list(folder.glob("outcome=tagged/*.parquet"))) < count:
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_that_is_killed_costs_nothing(many, cluster, tmp_path):
    killed: list[int] = []

    def kill() -> None:
        workers = [
            each
            for each in psutil.process_iter(["cmdline"])
            if "TaggingWorker" in " ".join(each.info["cmdline"] or ())
        ]
        for worker in workers[:1]:
            worker.kill()
            killed.append(worker.pid)

    thread = when_parts_are_there(tmp_path / "parts", 1, kill)
    tally = tag_on_ray([many], tmp_path / "parts")
    thread.join()
    assert killed
    assert (tally.tagged, tally.failed) == (MANY, 0)
    expected = alone(many, tmp_path / "one.parquet")
    assert tagged(tmp_path / "parts").cast(expected.schema).equals(expected)


def test_a_run_that_is_killed_goes_on_and_has_each_image_once(many, cluster, tmp_path):
    parts = tmp_path / "parts"
    code = (
        "import sys; from twlcli.cluster.run import tag_on_ray\n"
        "if __name__ == '__main__': tag_on_ray([sys.argv[1]], sys.argv[2])"
    )
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(many), str(parts)],
        env={**os.environ, "RAY_ADDRESS": address},
        stderr=subprocess.DEVNULL,
    )
    when_parts_are_there(parts, 2, driver.kill).join()
    assert driver.wait() == -signal.SIGKILL
    some = Parts.at(parts).done()
    assert 0 < some < MANY
    tally = tag_on_ray([many], parts)
    assert tally.stored == some
    assert (tally.tagged, tally.failed) == (MANY, 0)
    expected = alone(many, tmp_path / "one.parquet")
    assert tagged(parts).cast(expected.schema).equals(expected)


def test_an_image_that_kills_its_decoder_costs_itself(images, cluster, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in sorted((images / "0").iterdir()):
        os.link(path, source / path.name)
    Image.new("RGB", (12_000, 12_000)).save(source / "large.png")
    tally = tag_on_ray([source], tmp_path / "parts", memory_limit=256)
    assert tally.failed == 1
    assert tally.tagged == len(list(source.iterdir())) - 1
    assert "memory" in failures(tmp_path / "parts")["large.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_is_no_utf8_is_a_failure(images, cluster, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    os.link(images / "0/0.png", source / os.fsdecode(b"a\xff.png"))
    os.link(images / "0/0.png", source / "b.png")
    tally = tag_on_ray([source], tmp_path / "parts")
    assert (tally.tagged, tally.failed) == (1, 1)
    assert failures(tmp_path / "parts") == {
        "a\\udcff.png": "its name is not UTF-8, as Ray's tables need it; tag it without Ray"
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0.4}, "was written with another threshold (best-f1, now 0.4)"),
        ({"model": "shapes-small"}, "was written with another model"),
        ({"exact": True}, "was written with another exact (False, now True)"),
    ],
)
def test_a_folder_belongs_to_one_way_of_tagging(images, cluster, tmp_path, options, said):
    parts = tmp_path / "parts"
    tag_on_ray([images / "0/0.png"], parts)
    with pytest.raises(TwlError) as error:
        tag_on_ray([images / "0/0.png"], parts, **options)
    assert said in str(error.value)


def test_other_folders_are_refused(images, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(TwlError, match="is not empty, and not of a run on a cluster"):
        tag_on_ray([images], tmp_path)
    with pytest.raises(TwlError, match=r"mine\.txt/below: cannot be written"):
        tag_on_ray([images], tmp_path / "mine.txt/below")


def test_what_workers_get():
    assert Cluster("x", 3, 0).shares(None, on_gpu=False) == Shares(1, cpus=1, gpus=0)
    assert Cluster("x", 16, 0).shares(None, on_gpu=False) == Shares(14, cpus=1, gpus=0)
    assert Cluster("x", 16, 0).shares(5, on_gpu=False) == Shares(5, cpus=1, gpus=0)
    assert Cluster("x", 34, 4).shares(None, on_gpu=True) == Shares(4, cpus=8, gpus=1)
    assert Cluster("x", 4, 4).shares(None, on_gpu=True) == Shares(2, cpus=1, gpus=1)
    with pytest.raises(DeviceError, match="at x has 2 CPUs; expected 3"):
        Cluster("x", 2, 0).shares(None, on_gpu=False)
    with pytest.raises(DeviceError, match="at x has no GPU"):
        Cluster("x", 8, 0).shares(None, on_gpu=True)


def test_a_cluster_that_is_not_there_is_said_at_once(images, tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "twlcli", "tag", str(images), "--engine", "ray", "--out", "parts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:9"},
    )
    assert found.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:9, which RAY_ADDRESS names" in found.stderr


def test_from_a_store_into_a_store(images, tmp_path):
    moto = pytest.importorskip("moto.server", reason="moto is not installed: make test-ray")
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RAY_ADDRESS": "local",  # the cluster of the other tests does not know the store
    }
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="pics")
    for path in sorted(images.rglob("*.*")):
        client.upload_file(str(path), "pics", f"in/{path.relative_to(images).as_posix()}")
    command = [sys.executable, "-m", "twlcli", "tag", "s3://pics/in", "--engine", "ray"]
    try:
        for out, code, said in (
            ("s3://pics/tags/", 3, "151 images: 150 tagged, 1 failed"),
            ("s3://none/tags/", 2, "s3://none/tags/: no such bucket"),
        ):
            found = subprocess.run(
                [*command, "--out", out],
                capture_output=True,
                text=True,
                env={**os.environ, **settings},
            )
            assert found.returncode == code, found.stderr
            assert said in found.stderr
        for each in client.list_objects_v2(Bucket="pics", Prefix="tags/")["Contents"]:
            local = tmp_path / each["Key"]
            local.parent.mkdir(parents=True, exist_ok=True)
            client.download_file("pics", each["Key"], str(local))
    finally:
        client.close()
        server.stop()
    expected = alone(images, tmp_path / "one.parquet")
    assert tagged(tmp_path / "tags").cast(expected.schema).equals(expected)
    assert list(failures(tmp_path / "tags")) == ["bad.jpg"]


@pytest.mark.slow
def test_the_command_starts_a_ray_of_its_own_and_goes_on(images, tmp_path):
    command = [sys.executable, "-m", "twlcli", "tag", str(images), "--engine", "ray", "--out"]
    for done in ("", "151 done before, "):
        found = subprocess.run(
            [*command, "parts"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "RAY_ADDRESS": "local"},
        )
        assert found.returncode == 3, found.stderr
        assert f"twl: Ray on this machine: 151 images, {done}" in found.stderr
        assert "twl: parts: 151 images: 150 tagged, 1 failed" in found.stderr
        assert found.stdout == ""

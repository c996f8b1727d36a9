"""A server that speaks as S3 does, on the loopback, with a proxy in front of it."""

import logging
from collections.abc import Callable

import pytest
from moto.server import ThreadedMotoServer

from tests.images.encoded import encode, picture
from tests.stores.proxy import FaultProxy
from tests.tagging.models import write_model
from twlcli.stores import faults, store


@pytest.fixture(scope="session")
def server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def proxy(server, monkeypatch, tmp_path):
    """The proxy, with everything set so that addresses lead to it."""
    fault_proxy = FaultProxy(server)
    for name, value in {
        "AWS_ENDPOINT_URL": fault_proxy.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store, "_stores", {})
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    yield fault_proxy
    for each in store._stores.values():
        each.close()
    fault_proxy.close()


@pytest.fixture(scope="session")
def client(server):
    import boto3

    made = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server}",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    yield made
    made.close()


@pytest.fixture
def bucket(proxy, client):
    """Puts objects into an empty bucket called `pics`."""
    client.create_bucket(Bucket="pics")
    yield Bucket(client)
    there = client.list_objects_v2(Bucket="pics").get("Contents", ())
    if there:
        keys = [{"Key": each["Key"]} for each in there]
        client.delete_objects(Bucket="pics", Delete={"Objects": keys})
    client.delete_bucket(Bucket="pics")


class Bucket:
    def __init__(self, client) -> None:
        self.client = client

    def put(self, key: str, content: bytes | None = None) -> None:
        self.client.put_object(Bucket="pics", Key=key, Body=PNG if content is None else content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket="pics", Key=key)["Body"].read())

    def stored(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket="pics").get("Contents", ())
        return [each["Key"] for each in found]


PNG = encode(picture(), "PNG")
Rule = Callable[[str, str, int], str | float]


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model.onnx")

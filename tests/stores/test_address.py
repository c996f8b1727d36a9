import os

import pytest

from twlcli.io import is_address
from twlcli.stores.address import shown, without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a", True),
        ("abfs://c@account.dfs.core.windows.net/a", True),
        (r"C:\photos", False),
        ("C:/photos", False),
        ("s3:", False),
        ("s3:/bucket", False),
        ("file:///a.jpg", True),
        ("a/s3://b", False),
    ],
)
def test_what_is_an_address(text, expected):
    assert is_address(text) is expected


def test_a_local_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("s3:/bucket")  # noqa: PTH103
    assert not is_address("s3://bucket")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket/what?.jpg", "s3://bucket/what?.jpg"),
        ("https://a.org/b.jpg?X-Amz-Credential=a&X-Amz-Signature=b", "https://a.org/b.jpg"),
        ("https://a.org/b.jpg?sv=1&sig=2", "https://a.org/b.jpg"),
        ("https://a.org/b.jpg?k=0123456789abcdef01234567", "https://a.org/b.jpg"),
        ("https://a.org/b?id=7", "https://a.org/b?id=7"),
        ("https://token@a.org/b", "https://a.org/b"),
        ("sftp://me:secret@a.org/b", "sftp://me@a.org/b"),
        ("abfs://box@account.net/b", "abfs://box@account.net/b"),
    ],
)
def test_addresses_are_shown_without_secrets(address, expected):
    assert shown(address) == expected


def test_messages_hold_no_secrets():
    text = "cannot connect to\nhttps://me:pw@a.org/b?token=1 at all"
    assert without_secrets(text) == "cannot connect to https://a.org/b at all"

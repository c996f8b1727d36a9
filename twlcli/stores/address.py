"""Addresses such as `s3://bucket/photos`, and how they are shown without secrets."""

from __future__ import annotations

import re

_WITH_QUERIES = frozenset(("http", "https"))  # elsewhere ? is a character like any other
_SECRET = re.compile(
    r"sig|token|key|secret|credential|passw|auth|expires|policy|^x-|^s[a-z]{1,4}$", re.IGNORECASE
)
_LONG = 24  # characters of a value that may be a secret whatever it is called
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]+")


def scheme_of(address: str) -> str:
    """The scheme of an address, in lower case: `s3`."""
    return address.partition("://")[0].lower()


def shown(address: str) -> str:
    """An address as it may be printed and written: without passwords and signatures.

    A password is left out; over HTTP the user too, which may be a token. The query of an HTTP
    address is left out where a part of it may be a secret.

    Example:
        >>> shown("https://me:pw@example.org/a.jpg?X-Amz-Signature=1f2e")
        'https://example.org/a.jpg'
        >>> shown("https://example.org/show?id=7")
        'https://example.org/show?id=7'
    """
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    is_http = scheme.lower() in _WITH_QUERIES
    user, at, bare = host.rpartition("@")
    if at and is_http:
        host = bare
    elif at:
        host = f"{user.partition(':')[0]}@{bare}"
    rest = host + slash + path
    if is_http:
        rest, _, query = rest.partition("#")[0].partition("?")
        if query and not _may_be_secret(query):
            rest += f"?{query}"
    return scheme + mark + rest


def without_secrets(text: str) -> str:
    """A message on one line, with the addresses in it as they may be shown."""
    return _ADDRESS.sub(lambda found: shown(found[0]), " ".join(text.split()))


def _may_be_secret(query: str) -> bool:
    from urllib.parse import parse_qsl  # most runs see no address

    pairs = parse_qsl(query, keep_blank_values=True)
    return not pairs or any(_SECRET.search(name) or len(value) >= _LONG for name, value in pairs)

"""Objects of S3 read over connections of one's own.

botocore takes 1.4 ms of CPU time for a small object; signed by it and read here it takes half, and
two cores that decode photographs have none to spare.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twlcli.stores.faults import StoppedError

_TIMEOUT = 15.0  # seconds without a byte, as s3fs has it
_SIGNED_FOR = 3600  # seconds
_CREDENTIALS_FOR = 60.0  # seconds after which they may have been renewed
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class AnswerError(Exception):
    """S3 has refused a request.

    Attributes:
        status: HTTP's.
        response: the code of S3 as botocore's errors hold it.
    """

    def __init__(self, status: int, body: bytes) -> None:
        found = _CODE.search(body)
        code = found[1].decode() if found else ""
        super().__init__(f"{status} {code}".strip())
        self.status = status
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class DirectReads:
    """Reads ranges of objects, over connections that are kept for the next ones."""

    def __init__(self, files: Any) -> None:
        self._files = files
        self._idle: list[tuple[tuple[str, str], http.client.HTTPConnection]] = []
        self._taking = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._signers: dict[str, _Signer | None] = {}

    @classmethod
    def of(cls, files: Any) -> DirectReads | None:
        """For a file system of s3fs's; None where it has settings that are botocore's to keep.

        Such are proxies, keys that objects are encrypted by and payment by whoever asks.
        """
        from urllib.request import getproxies

        settings = (
            getproxies(),
            files.config_kwargs.get("proxies"),
            files.client_kwargs.get("verify") is not None,
            files.s3_additional_kwargs,
            files.req_kw,
            files.version_aware,
        )
        return None if any(settings) else cls(files)

    def read(self, path: str, start: int, end: int, stop: threading.Event | None) -> bytes:
        """The bytes from `start` to `end`.

        Raises:
            AnswerError: S3 refuses.
            OSError: the connection broke or gave nothing for `_TIMEOUT`.
            StoppedError: `stop` was set.
        """
        address = urlsplit(self._signed(path))
        place = (address.scheme, address.netloc)
        connection = self._taken(place)
        try:
            connection.request(
                "GET",
                f"{address.path}?{address.query}" if address.query else address.path,
                headers={"Range": f"bytes={start}-{end - 1}"},
            )
            with connection.getresponse() as answer:
                if answer.status not in (200, 206):
                    raise AnswerError(answer.status, answer.read(1 << 16))
                content = self._body(answer, end - start, stop)
            with self._taking:
                self._idle.append((place, connection))
            return content if answer.status == 206 else content[start:end]
        except BaseException as error:
            connection.close()
            if isinstance(error, http.client.HTTPException):
                raise ConnectionError(f"the answer broke off ({type(error).__name__})") from error
            raise

    def _signed(self, path: str) -> str:
        """The address of an object, signed for a GET."""
        bucket, _, key = path.partition("/")
        with self._taking:
            signer = self._signers.get(bucket)
        if signer is not None and time.monotonic() < signer.until:
            return signer.signed(key)
        signed: str = self._files.sign(path, expiration=_SIGNED_FOR)
        if signer is not None or bucket not in self._signers:
            found = _Signer.like(signed, key, self._credentials())
            with self._taking:
                self._signers[bucket] = found
        return signed

    def _credentials(self) -> Any:
        """The ones that botocore signs with now; None without any."""
        from fsspec.asyn import sync

        async def frozen() -> Any:
            given = (await self._files.get_s3())._request_signer._credentials
            return None if given is None else await given.get_frozen_credentials()

        return sync(self._files.loop, frozen)

    def _body(
        self, answer: http.client.HTTPResponse, size: int, stop: threading.Event | None
    ) -> bytes:
        if size <= 1 << 20:
            return answer.read()
        parts = []
        while part := answer.read(1 << 20):
            if stop is not None and stop.is_set():
                raise StoppedError
            parts.append(part)
        return b"".join(parts)

    def _taken(self, place: tuple[str, str]) -> http.client.HTTPConnection:
        """A connection that nobody uses, to a host; new where there is none."""
        with self._taking:
            for number, (known, connection) in enumerate(self._idle):
                if known == place:
                    del self._idle[number]
                    return connection
        scheme, host = place
        if scheme == "https":
            context = self._trusted()
            return http.client.HTTPSConnection(host, timeout=_TIMEOUT, context=context)
        return http.client.HTTPConnection(host, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._taking:
            while self._idle:
                self._idle.pop()[1].close()

    def _trusted(self) -> ssl.SSLContext:
        """The certificates that botocore trusts: those of its settings, else its own."""
        if self._context is None:
            from botocore.httpsession import get_cert_path

            given = self._files.session.get_config_variable("ca_bundle")
            self._context = ssl.create_default_context(cafile=get_cert_path(given or True))
        return self._context


@dataclass(frozen=True)
class _Signer:
    """Signs for one bucket as botocore does, which takes three times as long and its own thread.

    Attributes:
        base: the address before the key.
        region: that botocore signed for.
        credentials: that it signed with.
        until: when they are asked for again, by the monotonic clock.
    """

    base: str
    region: str
    until: float
    credentials: Any = field(repr=False)

    @classmethod
    def like(cls, signed: str, key: str, credentials: Any) -> _Signer | None:
        """What signs other keys as botocore has signed one; None for other ways to sign."""
        from botocore.utils import percent_encode

        address, _, query = signed.partition("?")
        fields = dict(parse_qsl(query))
        name = percent_encode(key, safe="/~")
        scope = fields.get("X-Amz-Credential", "").split("/")
        usual = fields.get("X-Amz-Algorithm") == "AWS4-HMAC-SHA256" and scope[3:4] == ["s3"]
        if credentials is None or not usual or not address.endswith(f"/{name}"):
            return None
        base = address.removesuffix(name)
        return cls(base, scope[2], time.monotonic() + _CREDENTIALS_FOR, credentials)

    def signed(self, key: str) -> str:
        """The address of an object of the bucket."""
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.utils import percent_encode

        request = AWSRequest("GET", self.base + percent_encode(key, safe="/~"))
        signer = S3SigV4QueryAuth(self.credentials, "s3", self.region, _SIGNED_FOR)
        signer.add_auth(request)
        return str(request.url)

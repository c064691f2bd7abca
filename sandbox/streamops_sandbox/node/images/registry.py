"""A registry, as a node sees it: manifests and blobs of one repository, digests verified."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from streamops_sandbox.node.images.errors import ImageError
from streamops_sandbox.node.images.reference import Reference

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ATTEMPTS = 3
_CHUNK = 1 << 20
_MAX_MANIFEST = 4 << 20


class RegistryClient:
    """Reads one repository. The credentials are tried one after the other, as the kubelet does."""

    def __init__(
        self,
        reference: Reference,
        credentials: Sequence[tuple[str, str]] = (),
        *,
        timeout: float = 60.0,
    ) -> None:
        """`timeout`: seconds without any progress after which a request fails."""
        self.reference = reference
        self._credentials: list[tuple[str, str] | None] = list(credentials) or [None]
        self._authorization: str | None = None
        self._accepted = False  # the authorization has worked: if it no longer does, it expired
        self._session = aiohttp.ClientSession(
            trust_env=not reference.loopback,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def manifest(self, target: str) -> tuple[bytes, str, str]:
        """Return the bytes, digest and media type of a manifest or index, by tag or digest."""
        accept = ", ".join((*MANIFESTS, *INDEXES))
        url = f"{self.reference.url}/manifests/{target}"
        response = await self._get(url, {"Accept": accept})
        async with response:
            if response.status == 404:
                raise self._failure(f"{self.reference}: not found")
            content = await response.content.read(_MAX_MANIFEST + 1)
            while chunk := await response.content.read(_MAX_MANIFEST + 1 - len(content)):
                content += chunk
            if response.status != 200:
                raise self._unexpected(response, content)
        if len(content) > _MAX_MANIFEST:
            raise self._failure(f"manifest is larger than {_MAX_MANIFEST} bytes")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        expected = target if ":" in target else response.headers.get("Docker-Content-Digest")
        if expected and expected != digest:
            raise self._failure(f"manifest has digest {digest}, expected {expected}")
        return content, digest, response.content_type

    async def blob(self, descriptor: dict[str, Any], path: Path) -> None:
        """Write a blob to `path`, resuming where a connection broke; verifies size and digest."""
        digest, size = descriptor["digest"], descriptor["size"]
        algorithm, _, expected = digest.partition(":")
        hasher, received = hashlib.new(algorithm), 0
        url = f"{self.reference.url}/blobs/{digest}"
        with path.open("wb") as file:
            for attempt in range(1, _ATTEMPTS + 1):
                headers = {"Range": f"bytes={received}-"} if received else {}
                try:
                    async with await self._get(url, headers) as response:
                        if received and response.status == 200:  # ranges are not supported: again
                            hasher, received = hashlib.new(algorithm), 0
                            file.seek(0)
                            file.truncate()
                        elif response.status not in (200, 206):
                            raise self._unexpected(response, await response.content.read(1000))
                        async for chunk in response.content.iter_chunked(_CHUNK):
                            received += len(chunk)
                            if received > size:
                                raise self._failure(f"blob {digest} is larger than {size} bytes")
                            hasher.update(chunk)
                            file.write(chunk)
                except (aiohttp.ClientError, TimeoutError) as error:
                    if attempt == _ATTEMPTS:
                        raise self._failure(f"failed to copy {digest}: {error}") from error
                    continue
                break
        if hasher.hexdigest() != expected:
            actual = f"{algorithm}:{hasher.hexdigest()}"
            raise self._failure(f"failed commit on ref: unexpected digest {actual}, not {digest}")

    async def _get(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """GET with whichever credentials the registry takes."""
        while True:
            given = {"Authorization": self._authorization} if self._authorization else {}
            try:
                response = await self._session.get(url, headers=headers | given)
            except (aiohttp.ClientConnectorError, TimeoutError) as error:
                reason = getattr(error, "strerror", None) or str(error) or "i/o timeout"
                raise self._failure(f'failed to do request: Get "{url}": {reason}') from error
            if response.status not in (401, 403):
                self._accepted = self._authorization is not None
                return response
            challenge = response.headers.get("WWW-Authenticate", "")
            body = await response.content.read(1000)
            response.release()
            if self._authorization is not None and not self._accepted:
                self._credentials.pop(0)
            self._authorization, self._accepted = None, False
            if not self._credentials or not challenge:
                raise self._failure(
                    "pull access denied, repository does not exist or may require authorization: "
                    f"{_server_message(body) or 'authorization failed'}"
                )
            self._authorization = await self._authorize(challenge, self._credentials[0])

    async def _authorize(self, challenge: str, credentials: tuple[str, str] | None) -> str:
        """Answer a WWW-Authenticate challenge; returns the Authorization header to send."""
        scheme, _, rest = challenge.partition(" ")
        basic = aiohttp.encode_basic_auth(*credentials) if credentials else ""
        if scheme.lower() == "basic":
            return basic or "Basic Og=="
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        scope = parameters.get("scope") or f"repository:{self.reference.name}:pull"
        headers = {"Authorization": basic} if basic else {}
        query = {"service": parameters.get("service", ""), "scope": scope}
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise self._failure(f"failed to fetch token: no realm in {challenge!r}")
        try:
            async with self._session.get(realm, params=query, headers=headers) as response:
                if response.status != 200:
                    raise self._failure(
                        "failed to authorize: failed to fetch "
                        f"{'oauth' if basic else 'anonymous'} token: unexpected status from GET "
                        f"request to {realm}: {response.status} {response.reason}"
                    )
                answer = await response.json(content_type=None)
        except (aiohttp.ClientConnectorError, TimeoutError) as error:
            raise self._failure(f"failed to fetch token from {realm}: {error}") from error
        return f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _unexpected(self, response: aiohttp.ClientResponse, body: bytes) -> ImageError:
        status = f"{response.status} {response.reason}"
        detail = f": {text}" if (text := _server_message(body)) else ""
        return self._failure(
            f"unexpected status from GET request to {response.url}: {status}{detail}"
        )

    def _failure(self, message: str) -> ImageError:
        reference = f'"{self.reference}"'
        return ImageError(
            "ErrImagePull",
            f"failed to pull and unpack image {reference}: failed to resolve reference {reference}: "
            f"{message}",
        )


def _server_message(body: bytes) -> str:
    """Return the `code: message` of the first error in a registry's answer."""
    match = re.search(rb'"code":\s*"(\w+)".*?"message":\s*"([^"]*)"', body, re.DOTALL)
    return f"{match[1].decode()}: {match[2].decode()}" if match else ""

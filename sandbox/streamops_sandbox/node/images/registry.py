"""A registry, as a node sees it: manifests and blobs of one repository, digests verified.

Which pull secret is for what: https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import aiohttp

from streamops_sandbox.node.images.image import ImageError, Reference
from streamops_sandbox.oci import INDEXES, MANIFESTS, MAX_MANIFEST

_CHUNK = 1 << 20
Credentials = tuple[str, str]  # user, password


def find_credentials(
    reference: Reference, pull_secrets: Iterable[Mapping[str, Any]]
) -> Credentials | None:
    """Return those that docker configurations have for a reference: of the most specific path."""
    found: list[tuple[int, Credentials]] = []
    for secret in pull_secrets:
        for key, entry in (secret.get("auths") or {}).items():
            host, _, path = re.sub(r"^https?://", "", key).partition("/")
            path = re.sub(r"^v[12](/|$)", "", path).strip("/")
            if host == "index.docker.io":
                host, path = "docker.io", ""
            matches_path = not path or f"{reference.name}/".startswith(f"{path}/")
            if _host_matches(host, reference.domain) and matches_path:
                found.append((len(path), _decode(entry)))
    return max(found, key=lambda one: one[0], default=(0, None))[1]


def _host_matches(pattern: str, domain: str) -> bool:
    """Compare label by label: `*` stands for a part of one label, never for a dot."""
    labels, given = pattern.split("."), domain.split(".")
    return len(labels) == len(given) and all(map(fnmatchcase, given, labels))


def _decode(entry: Mapping[str, str]) -> Credentials:
    if "auth" in entry:
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return entry.get("username", ""), entry.get("password", "")


class RegistryClient:
    """Reads one repository; an asynchronous context manager."""

    def __init__(
        self, reference: Reference, credentials: Credentials | None, *, timeout: float = 60.0
    ) -> None:
        """`timeout`: seconds without any progress after which a request fails."""
        self.reference = reference
        self._basic = aiohttp.encode_basic_auth(*credentials) if credentials else ""
        self._authorization = ""
        self._session = aiohttp.ClientSession(
            trust_env=not reference.loopback,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def manifest(self, target: str) -> tuple[bytes, str, str]:
        """Return the bytes, digest and media type of a manifest or index, by tag or digest."""
        accept = ", ".join((*MANIFESTS, *INDEXES))
        url = f"{self.reference.url}/manifests/{target}"
        async with await self._get(url, {"Accept": accept}) as response:
            if response.status == 404:
                raise self._failure(f"{self.reference}: not found")
            content = b""
            while chunk := await response.content.read(MAX_MANIFEST + 1 - len(content)):
                content += chunk
            if response.status != 200:
                raise self._unexpected(response, content)
        if len(content) > MAX_MANIFEST:
            raise self._failure(f"manifest is larger than {MAX_MANIFEST} bytes")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        expected = target if ":" in target else response.headers.get("Docker-Content-Digest")
        if expected and expected != digest:
            raise self._failure(f"manifest has digest {digest}, expected {expected}")
        return content, digest, response.content_type

    async def blob(self, descriptor: dict[str, Any], path: Path) -> None:
        """Write a blob to `path`; verifies size and digest."""
        digest, size = descriptor["digest"], descriptor["size"]
        hasher, received = hashlib.sha256(), 0
        try:
            async with await self._get(f"{self.reference.url}/blobs/{digest}", {}) as response:
                if response.status != 200:
                    raise self._unexpected(response, await response.content.read(1000))
                with path.open("wb") as file:
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        received += len(chunk)
                        if received > size:
                            raise self._failure(f"blob {digest} is larger than {size} bytes")
                        hasher.update(chunk)
                        file.write(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failure(f"failed to copy {digest}: {error}") from error
        actual = f"sha256:{hasher.hexdigest()}"
        if actual != digest:
            raise self._failure(f"failed commit on ref: unexpected digest {actual}, not {digest}")

    async def _get(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """GET, once more with what a challenge asks for."""
        response = await self._send(url, headers)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status == 401 and challenge:
            response.release()
            self._authorization = await self._authorize(challenge)
            response = await self._send(url, headers)
        if response.status in (401, 403):
            body = await response.content.read(1000)
            response.release()
            raise self._failure(
                "pull access denied, repository does not exist or may require authorization: "
                f"{_server_message(body) or 'authorization failed'}"
            )
        return response

    async def _send(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        given = {"Authorization": self._authorization} if self._authorization else {}
        try:
            return await self._session.get(url, headers=headers | given)
        except (aiohttp.ClientConnectorError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "i/o timeout"
            raise self._failure(f'failed to do request: Get "{url}": {reason}') from error

    async def _authorize(self, challenge: str) -> str:
        """Answer a WWW-Authenticate challenge; returns the Authorization header to send."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return self._basic or "Basic Og=="
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        scope = parameters.get("scope") or f"repository:{self.reference.name}:pull"
        headers = {"Authorization": self._basic} if self._basic else {}
        query = {"service": parameters.get("service", ""), "scope": scope}
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise self._failure(f"failed to fetch token: no realm in {challenge!r}")
        try:
            async with self._session.get(realm, params=query, headers=headers) as response:
                if response.status != 200:
                    raise self._failure(
                        "failed to authorize: failed to fetch "
                        f"{'oauth' if headers else 'anonymous'} token: unexpected status from GET "
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

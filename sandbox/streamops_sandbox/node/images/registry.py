"""A registry, as a node sees it: manifests and blobs of one repository, digests verified.

Which pull secret is for what: https://kubernetes.io/docs/concepts/containers/images/#config-json
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import aiohttp

from streamops_sandbox.node.images.image import ImageError, Reference
from streamops_sandbox.oci import INDEXES, MANIFESTS, MAX_MANIFEST

_CHUNK = 1 << 20
#: Without any progress; not a limit for a whole pull.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=60.0, sock_read=60.0)
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
            host = host.replace("index.docker.io", "docker.io")
            matches_path = not path or f"{reference.name}/".startswith(f"{path}/")
            if host == reference.domain and matches_path:
                found.append((len(path), _decode(entry)))
    return max(found, key=lambda one: one[0], default=(0, None))[1]


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

    def __init__(self, reference: Reference, credentials: Credentials | None) -> None:
        self.reference = reference
        self._basic = aiohttp.encode_basic_auth(*credentials) if credentials else ""
        self._authorization: dict[str, str] = {}
        self._session = aiohttp.ClientSession(trust_env=not reference.loopback, timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def manifest(self, target: str) -> tuple[bytes, str, str]:
        """Return the bytes, digest and media type of a manifest or index, by tag or digest."""
        accept, content = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}, io.BytesIO()
        response, digest = await self._fetch(f"manifests/{target}", content, MAX_MANIFEST, accept)
        stated = response.headers.get("Docker-Content-Digest", digest)
        self._verify(digest, target if ":" in target else stated)
        return content.getvalue(), digest, response.content_type

    async def blob(self, descriptor: dict[str, Any], path: Path) -> None:
        """Write a blob to `path`; verifies size and digest."""
        with path.open("wb") as file:
            _, digest = await self._fetch(
                f"blobs/{descriptor['digest']}", file, descriptor["size"], {}
            )
        self._verify(digest, descriptor["digest"])

    async def _fetch(
        self, path: str, file: IO[bytes], limit: int, headers: dict[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        """GET something into a file, once more with what a challenge asks for.

        Returns the response and the digest. Raises ImageError where it is larger than `limit` bytes.
        """
        url = f"{self.reference.url}/{path}"
        hasher, received = hashlib.sha256(), 0
        try:
            response = await self._session.get(url, headers=headers | self._authorization)
            if response.status == 401 and (asked := response.headers.get("WWW-Authenticate")):
                response.release()
                self._authorization = {"Authorization": await self._authorize(asked)}
                response = await self._session.get(url, headers=headers | self._authorization)
            async with response:
                if response.status != 200:
                    raise self._refused(response, await response.content.read(1000))
                async for chunk in response.content.iter_chunked(_CHUNK):
                    received += len(chunk)
                    if received > limit:
                        raise self.reference.failure(f"{path} is larger than {limit} bytes")
                    hasher.update(chunk)
                    file.write(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "i/o timeout"
            text = f'failed to do request: Get "{url}": {reason}'
            raise self.reference.failure(text) from error
        return response, f"sha256:{hasher.hexdigest()}"

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
        async with self._session.get(realm, params=query, headers=headers) as response:
            if response.status != 200:
                raise self.reference.failure(
                    "failed to authorize: failed to fetch "
                    f"{'oauth' if headers else 'anonymous'} token: unexpected status from GET "
                    f"request to {realm}: {response.status} {response.reason}"
                )
            answer = await response.json(content_type=None)
        return f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _verify(self, digest: str, expected: str) -> None:
        if digest != expected:
            raise self.reference.failure(
                f"failed commit on ref: unexpected digest {digest}, not {expected}"
            )

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> ImageError:
        # The first error that a registry names.
        match = re.search(rb'"code":\s*"(\w+)".*?"message":\s*"([^"]*)"', body, re.DOTALL)
        detail = f": {match[1].decode()}: {match[2].decode()}" if match else ""
        if response.status == 404:
            return self.reference.failure(f"{self.reference}: not found")
        if response.status in (401, 403):
            return self.reference.failure(
                "pull access denied, repository does not exist or may require authorization: "
                f"authorization failed{detail}"
            )
        status = f"{response.status} {response.reason}"
        text = f"unexpected status from GET request to {response.url}: {status}{detail}"
        return self.reference.failure(text)

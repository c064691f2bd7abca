"""One repository of a registry, spoken to by `oras`.

`oras` knows the protocol, docker configurations with their credential helpers, and token
authentication. What is replaced here is how a request is sent: with a timeout, with a new token when
the one at hand is not enough, without the minutes of waiting that its own retries take, and with
errors that have a type.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oras.auth.utils
import oras.container
import oras.provider
import requests
from requests.adapters import HTTPAdapter

from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import RegistryError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TRANSIENT = (429, 500, 502, 503, 504)
_FIRST_WAIT = 0.25  # seconds, doubled each time
_CHUNK = 1 << 20

# oras reports to standard error what is raised as an exception anyway.
logging.getLogger("oras.logger").disabled = True


@dataclass(frozen=True)
class Connection:
    """How registries are reached. `timeout` in seconds; `retries` per request or upload."""

    timeout: float = 30.0
    retries: int = 5
    plain_http: bool | None = None
    verify: bool | str = True
    docker_config: str | None = None


class Repository(oras.provider.Registry):
    """The repository of `reference`; `credentials` (user, password) win over docker configurations."""

    def __init__(
        self,
        reference: Reference,
        connection: Connection,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        plain = connection.plain_http if connection.plain_http is not None else reference.loopback
        super().__init__(reference.host, insecure=plain, tls_verify=connection.verify)
        self.reference = reference
        self.connection = connection
        self.container = oras.container.Container(f"{reference.host}/{reference.name}")
        self.requests = 0
        if reference.loopback:
            self.session.trust_env = False  # a proxy cannot reach this machine's own registry
        adapter = _TimeoutAdapter(connection.timeout)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        if credentials:
            self.auth.set_basic_auth(*credentials)
        else:
            key = oras.container.Container("any/name", registry=reference.credentials_key)
            configs = [connection.docker_config] if connection.docker_config else None
            self.auth.load_configs(key, configs=configs)

    # Requests

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request with whatever credentials the registry asks for.

        Answers 2xx, and 404 where something is only asked for; raises RegistryError for the rest.
        What can be repeated is, after a transient failure; uploads are by who knows where they began.
        """
        repeatable = method in ("GET", "HEAD") or "/manifests/" in url
        attempts = self.connection.retries + 1 if repeatable else 1
        for attempt in range(attempts):
            last = attempt + 1 == attempts
            try:
                response = self._send(method, url, data, headers or {}, json, stream)
            except requests.exceptions.SSLError as error:
                raise RegistryError(
                    f"{self.reference.registry}: its certificate is not trusted: {_reason(error)}."
                    " Give its authority's certificate with ca_cert"
                ) from error
            except requests.exceptions.RequestException as error:
                if last:
                    raise RegistryError(
                        f"{self.reference.registry} does not answer ({method} {_path(url)}):"
                        f" {_reason(error)}"
                    ) from error
            else:
                if response.status_code not in _TRANSIENT or last:
                    return self._checked(response, method, url)
            time.sleep(_FIRST_WAIT * 2**attempt)
        raise AssertionError("unreachable")

    def _send(
        self,
        method: str,
        url: str,
        data: Any,
        headers: Mapping[str, str],
        body: Any,
        stream: bool,
    ) -> requests.Response:
        options: dict[str, Any] = {"data": data, "json": body, "stream": stream}
        options["verify"] = self._tls_verify
        self.requests += 1
        given = {**headers, **self.auth.get_auth_header()}
        response: requests.Response = self.session.request(method, url, headers=given, **options)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status_code not in (401, 403) or not challenge:
            return response
        if challenge.lower().startswith("basic"):
            basic = getattr(self.auth, "_basic_auth", None)
            given["Authorization"] = f"Basic {basic}"
            authorized = basic is not None
        else:
            self.auth.token = None  # the one at hand is for less, or expired
            given, authorized = self.auth.authenticate_request(response, given)
        if not authorized:
            return response
        self.requests += 1
        again: requests.Response = self.session.request(method, url, headers=given, **options)
        return again

    def _checked(self, response: requests.Response, method: str, url: str) -> requests.Response:
        status = response.status_code
        if status < 400 or (status == 404 and method in ("GET", "HEAD")):
            return response
        where = f"{self.reference.repository}: {method} {_path(url)}"
        if status in (401, 403) and not _is_quota(response):
            raise RegistryError(
                f"{where}: {status} {_detail(response)}. Credentials are taken from username and"
                " password, from docker_config (or ~/.docker/config.json, as 'docker login' and"
                " 'skopeo login' write it), and for Google's registries from the Google options",
                status,
            )
        raise RegistryError(f"{where}: {status} {_detail(response)}", status)

    # Reading

    def manifest(self, target: str) -> tuple[bytes, str, str] | None:
        """Bytes, digest and media type of a manifest or index by tag or digest; None without one."""
        accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
        url = f"{self.prefix}://{self.container.manifest_url(target)}"
        response = self.do_request(url, headers={"Accept": accept})
        if response.status_code == 404:
            return None
        digest = f"sha256:{hashlib.sha256(response.content).hexdigest()}"
        if ":" in target and digest != target:
            raise RegistryError(
                f"{self.reference.repository}: the manifest that is asked for as {target} has the"
                f" digest {digest}: the registry, or something between, changed it"
            )
        return response.content, digest, response.headers.get("Content-Type", "").partition(";")[0]

    def resolve(self, tag: str) -> str | None:
        """The digest a tag names now."""
        accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
        url = f"{self.prefix}://{self.container.manifest_url(tag)}"
        response = self.do_request(url, "HEAD", headers={"Accept": accept})
        if response.status_code == 404:
            return None
        digest = response.headers.get("Docker-Content-Digest")
        if digest:
            return str(digest)
        found = self.manifest(tag)
        return found[1] if found else None

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        return bool(self.blob_exists({"digest": digest}, self.container))

    def read_blob(self, digest: str) -> bytes:
        """A small blob's content."""
        response = self.get_blob(self.container, digest)
        if response.status_code == 404:
            raise RegistryError(f"{self.reference.repository}: blob {digest} is missing", 404)
        return _verified(response.content, digest, self.reference)

    def fetch_blob(self, digest: str, path: Path) -> None:
        """Write a blob to a file; starts over where the connection broke."""
        for attempt in range(self.connection.retries + 1):
            hasher = hashlib.sha256()
            try:
                with self.get_blob(self.container, digest, stream=True) as response:
                    if response.status_code == 404:
                        raise RegistryError(
                            f"{self.reference.repository}: blob {digest} is missing", 404
                        )
                    with path.open("wb") as file:
                        for chunk in response.iter_content(_CHUNK):
                            hasher.update(chunk)
                            file.write(chunk)
            except requests.exceptions.RequestException as error:
                if attempt == self.connection.retries:
                    raise RegistryError(
                        f"{self.reference.repository}: blob {digest}: {_reason(error)}"
                    ) from error
                time.sleep(_FIRST_WAIT * 2**attempt)
                continue
            if f"sha256:{hasher.hexdigest()}" != digest:
                raise _wrong_digest(self.reference, digest, hasher.hexdigest())
            return

    # Writing

    def mount_blob(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry; False where it does not."""
        url = f"{self.prefix}://{self.container.upload_blob_url()}?mount={digest}&from={source}"
        try:
            return self.do_request(url, "POST").status_code == 201
        except RegistryError as error:
            if error.status in (401, 403, 404, 405):  # may not read it there, or cannot mount
                return False
            raise

    def push_blob(self, path: Path, digest: str, size: int) -> None:
        """Upload a file; starts over where the registry broke off or got something else."""
        for attempt in range(self.connection.retries + 1):
            try:
                layer = {"digest": digest, "size": size}
                self.put_upload(str(path), self.container, layer)
            except (RegistryError, ValueError) as error:
                status = getattr(error, "status", None)
                again = status is None or status in _TRANSIENT or "DIGEST_INVALID" in str(error)
                if not again or attempt == self.connection.retries:
                    raise RegistryError(
                        f"{self.reference.repository}: the blob {digest} ({size} bytes) was not"
                        f" taken; no tag was changed. {error}",
                        status,
                    ) from error
                time.sleep(_FIRST_WAIT * 2**attempt)
            else:
                return

    def push_manifest(self, content: bytes, media_type: str, target: str) -> None:
        """Store a manifest under a tag or its digest; a tag changes in this one step."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"{self.prefix}://{self.container.manifest_url(target)}"
        response = self.do_request(url, "PUT", data=content, headers={"Content-Type": media_type})
        stored = response.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise _wrong_digest(self.reference, digest, stored)


class _TimeoutAdapter(HTTPAdapter):
    """Gives every request a timeout, also those that oras sends for tokens."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        super().__init__()

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        """Send with the timeout where none was given."""
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, *args, **options)


def _verified(content: bytes, digest: str, reference: Reference) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if f"sha256:{actual}" != digest:
        raise _wrong_digest(reference, digest, actual)
    return content


def _wrong_digest(reference: Reference, expected: str, actual: str) -> RegistryError:
    return RegistryError(
        f"{reference.repository}: {expected} was asked for, but {actual} came: the registry, or"
        " something between, changed the content"
    )


def _errors(response: requests.Response) -> list[dict[str, Any]]:
    try:
        found = response.json()["errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return [error for error in found if isinstance(error, dict)]


def _detail(response: requests.Response) -> str:
    told = [f"{error.get('code')}: {error.get('message')}" for error in _errors(response)]
    return "; ".join(told) or response.reason or ""


def _is_quota(response: requests.Response) -> bool:
    """Whether a refusal is about room, not about rights (Harbor and others answer 403)."""
    return bool(re.search(r"quota|full|exceed|storage", json.dumps(_errors(response)), re.I))


def _path(url: str) -> str:
    return re.sub(r"^\w+://[^/]+|\?.*$", "", url)


def _reason(error: Exception) -> str:
    """The innermost cause, without the layers of libraries around it."""
    inner: Any = error
    while inner.args and isinstance(inner.args[-1], Exception):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    return str(reason or inner)

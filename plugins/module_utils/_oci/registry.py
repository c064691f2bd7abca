"""One repository of a registry.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. An answer that is not what the
specification demands (a proxy's page, a manifest of another digest) is an error.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, urljoin, urlsplit

from .._http.client import Answer, HttpClient
from .._http.errors import Cause, NoAnswer, SettingError
from .._http.retries import Retries
from .._http.tls import private_context
from .credentials import Credentials
from .errors import OptionError, RegistryError
from .reference import Reference
from .registry_auth import Authorization

Json = dict[str, Any]

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_TRANSIENT = (429, 500, 502, 503, 504)
_FIRST_WAIT = 0.25  # seconds, doubled each time
_RETRY_SECONDS = 120.0
_REDIRECTS = 5
#: What registries answer to a path that they do not know, besides 404.
_UNKNOWN_PATH = (400, 405, 501)
_PAGES = 20
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
#: Bytes; registries take no larger manifests, and configurations are smaller than that.
_MAX_DOCUMENT = 4 << 20


#: Takes a chunk of a blob, and its position in it.
Write = Callable[[int, bytes], object]


class Content(Protocol):
    """What can be read from its beginning each time it is sent; a path is one."""

    def open(self, mode: Literal["rb"], /) -> AbstractContextManager[Any]: ...


class _Received:
    """How much of a blob has been received, and its digest."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.size = 0
        self._hasher = hashlib.sha256()

    def begin(self, answer: Answer) -> None:
        """Start over, but with an answer that goes on where the last one ended."""
        given = answer.headers.get("Content-Range", "")
        if answer.status != 206 or not given.startswith(f"bytes {self.size}-"):
            self.restart()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hasher.update(chunk)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"


@dataclass(frozen=True)
class Connection:
    """How registries are reached. `timeout` in seconds; `retries` per request or upload."""

    timeout: float = 30.0
    retries: int = 5
    plain_http: bool | None = None
    verify: bool | str = True


class Repository:
    """The repository of `reference`."""

    def __init__(
        self, reference: Reference, connection: Connection, credentials: Credentials | None = None
    ) -> None:
        plain = connection.plain_http if connection.plain_http is not None else reference.loopback
        self.reference = reference
        self.requests = 0
        self._attempts = connection.retries + 1
        self._url = f"{'http' if plain else 'https'}://{reference.host}/v2/{reference.name}"
        context = None if plain else _context(connection.verify)
        self._http = HttpClient(context, timeout=connection.timeout)
        self._retries = Retries(
            attempts=connection.retries,
            seconds=_RETRY_SECONDS,
            pause=_FIRST_WAIT,
            transient=lambda answer, repeatable: repeatable and answer.status in _TRANSIENT,
        )
        self._auth = Authorization(self._ask_for_token, credentials, secure=not plain)

    # Reading

    def manifest(self, target: str) -> tuple[bytes, str, str] | None:
        """Return the bytes, digest and media type of a manifest or index by tag or digest; None without one."""
        answer = self._send("GET", f"/manifests/{target}", _ACCEPT)
        if answer.status == 404:
            return None
        digest = f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
        if ":" in target and digest != target:
            raise _wrong_digest(self.reference, target, digest)
        return answer.data, digest, self._media_type(answer)

    def resolve(self, tag: str) -> str | None:
        """Return the digest a tag names now."""
        answer = self._send("HEAD", f"/manifests/{tag}", _ACCEPT)
        if answer.status == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        if _DIGEST.fullmatch(digest):
            return digest
        found = self.manifest(tag)
        return found[1] if found else None

    def referrers(self, digest: str) -> list[Json] | None:
        """Return the descriptors of what refers to a manifest; None where the registry does not list it."""
        found: list[Json] = []
        url = f"{self._url}/referrers/{digest}"
        for _page in range(_PAGES):
            try:
                answer = self._send("GET", url, {"Accept": INDEX_TYPES[0]})
                value = json.loads(answer.data) if answer.status == 200 else None
            except RegistryError as error:
                if error.status not in _UNKNOWN_PATH:
                    raise
                return None
            except ValueError:
                return None
            if not isinstance(value, dict) or not isinstance(value.get("manifests"), list):
                return None
            found += filter(_is_descriptor, value["manifests"])
            following = _NEXT.match(answer.headers.get("Link", ""))
            if not following:
                break
            url = urljoin(url, following[1])
        return found

    def has_blob(self, digest: str, size: int) -> bool:
        """Return whether the repository has a blob."""
        answer = self._send("HEAD", f"/blobs/{digest}")
        known = answer.headers.get("Docker-Content-Digest")
        is_it = known == digest if known else answer.headers.get("Content-Length") == str(size)
        return answer.status == 200 and is_it

    def read_blob(self, digest: str) -> bytes:
        """Return a small blob's content."""
        answer = self._send("GET", f"/blobs/{digest}")
        if answer.status == 404:
            raise self._missing(digest)
        actual = f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
        if actual != digest:
            raise _wrong_digest(self.reference, digest, actual)
        return answer.data

    def fetch_blob(self, digest: str, size: int, path: Path) -> None:
        """Write a blob to a file."""
        with path.open("wb") as file:

            def write(position: int, chunk: bytes) -> None:
                file.seek(position)
                file.write(chunk)

            self.stream_blob(digest, size, write)

    def stream_blob(self, digest: str, size: int, write: Write) -> None:
        """Read a blob in chunks; goes on where the connection broke, or starts over."""
        received = _Received()
        for attempt in range(self._attempts):
            try:
                self._download(digest, size, write, received)
            except NoAnswer as error:
                if not error.is_transient or attempt + 1 == self._attempts:
                    raise self._no_answer(error) from error
                time.sleep(_FIRST_WAIT * 2**attempt)
            else:
                return

    # Writing

    def mount_blob(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry; False where it does not."""
        query = f"mount={quote(digest)}&from={quote(source, safe='')}"
        try:
            return self._send("POST", f"/blobs/uploads/?{query}").status == 201
        except RegistryError as error:
            if error.status in (401, 403, 404, 405):  # may not read it there, or cannot mount
                return False
            raise

    def push_blob(self, content: Content, digest: str, size: int) -> None:
        """Upload a file; starts over where the registry broke off or got something else."""
        for attempt in range(self._attempts):
            try:
                self._upload(content, digest, size)
            except RegistryError as error:
                status = error.status
                again = status is None or status in _TRANSIENT or "DIGEST_INVALID" in str(error)
                if not again or attempt + 1 == self._attempts:
                    raise RegistryError(
                        f"{self.reference.repository}: the blob {digest} ({size} bytes) was not"
                        f" taken; no tag was changed. {error}",
                        status,
                    ) from error
                time.sleep(_FIRST_WAIT * 2**attempt)
            else:
                return

    def push_manifest(self, content: bytes, media_type: str, target: str) -> str:
        """Store a manifest under a tag or its digest; a tag changes in this one step.

        Returns the digest of the manifest that the registry lists it as a referrer of, empty for none.
        """
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers = {"Content-Type": media_type}
        answer = self._send("PUT", f"/manifests/{target}", headers, content)
        self._expect(answer, 201)
        stored = answer.headers.get("Docker-Content-Digest") or self.resolve(target)
        if stored != digest:
            raise _wrong_digest(self.reference, digest, str(stored))
        return answer.headers.get("OCI-Subject", "")

    # Requests

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Content | None = None,
        *,
        repeatable: bool = True,
    ) -> Answer:
        """Send a request with whatever credentials the registry asks for.

        `path` is below the repository's, or a URL. Answers 2xx, and 404 to a GET or HEAD; raises
        RegistryError for the rest.
        """
        url = path if "://" in path else self._url + path
        try:
            answer = self._retries.send(
                lambda: self._authorized(method, url, headers or {}, body), repeatable=repeatable
            )
        except NoAnswer as error:
            raise self._no_answer(error) from error
        except SettingError as error:
            raise OptionError(str(error)) from error
        if 200 <= answer.status < 300 or (answer.status == 404 and method in ("GET", "HEAD")):
            return answer
        raise self._refused(answer)

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Content | None
    ) -> Answer:
        answer = self._request(method, url, headers, body)
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status in (401, 403) and challenge and self._auth.accept(challenge):
            answer = self._request(method, url, headers, body)
        return answer

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Content | None
    ) -> Answer:
        self.requests += 1
        # An upload's location may be elsewhere, where the credentials are not for.
        ours = urlsplit(url)[:2] == urlsplit(self._url)[:2]
        fields = {**headers, **(self._auth.headers if ours else {})}
        redirects = _REDIRECTS if method in ("GET", "HEAD") else 0
        with ExitStack() as stack:
            content: Any = body
            if body is not None and not isinstance(body, bytes):
                content = stack.enter_context(body.open("rb"))
            return self._http.request(
                method, url, headers=fields, body=content, limit=_MAX_DOCUMENT, redirects=redirects
            )

    def _ask_for_token(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> Answer:
        self.requests += 1
        return self._retries.send(
            lambda: self._http.request(
                method, url, headers=headers, body=body, limit=_MAX_DOCUMENT
            ),
            repeatable=True,
        )

    def _download(self, digest: str, size: int, write: Write, received: _Received) -> None:
        url = f"{self._url}/blobs/{digest}"
        for _dummy in range(2):
            self.requests += 1
            headers = {"Range": f"bytes={received.size}-"} if received.size else {}
            with self._http.stream(
                "GET", url, headers={**self._auth.headers, **headers}, redirects=_REDIRECTS
            ) as (answer, chunks):
                if answer.status in (200, 206):
                    received.begin(answer)
                    for chunk in chunks:
                        if received.size + len(chunk) > size:
                            received.restart()
                            break
                        write(received.size, chunk)
                        received.add(chunk)
                    break
            challenge = answer.headers.get("WWW-Authenticate", "")
            if answer.status not in (401, 403) or not self._auth.accept(challenge):
                break
        if answer.status == 404:
            raise self._missing(digest)
        if answer.status == 416:  # not from there on
            received.restart()
        if answer.status in (416, *_TRANSIENT):
            raise NoAnswer(f"{answer.request}: HTTP {answer.status}", Cause.CONNECTION, sent=True)
        if answer.status not in (200, 206):
            raise self._refused(answer)
        if received.size != size or received.digest != digest:
            raise _wrong_digest(self.reference, digest, received.digest)

    def _upload(self, content: Content, digest: str, size: int) -> None:
        begun = self._send("POST", "/blobs/uploads/", {"Content-Length": "0"})
        self._expect(begun, 202)
        location = urljoin(f"{self._url}/blobs/uploads/", begun.headers.get("Location", ""))
        joined = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        url = f"{location}{joined}digest={quote(digest)}"
        self._expect(self._send("PUT", url, headers, content, repeatable=False), 201)

    # Answers

    def _media_type(self, answer: Answer) -> str:
        """Return the media type of a manifest or index; raise RegistryError for what is neither."""
        where = f"{self.reference.repository}: {answer.request}"
        try:
            value = json.loads(answer.data)
        except ValueError:
            value = None
        if not isinstance(value, dict) or value.get("schemaVersion") != 2:
            raise RegistryError(f"{where}: the answer is not an image manifest or index")
        kind = str(value.get("mediaType") or answer.headers.get("Content-Type", ""))
        kind = kind.partition(";")[0]
        if kind in MANIFEST_TYPES:
            described = [value.get("config"), *_list(value.get("layers"))]
        else:
            described = _list(value.get("manifests"))
        if not described or not all(map(_is_descriptor, described)):
            raise RegistryError(f"{where}: the manifest of type {kind or '(none)'} is incomplete")
        return kind

    def _expect(self, answer: Answer, status: int) -> None:
        # The 201 of what was stored has a Location too, by the specification; not every registry sends it.
        if answer.status != status or (status == 202 and "Location" not in answer.headers):
            expected = f"HTTP {status} with a Location" if status == 202 else f"HTTP {status}"
            raise RegistryError(
                f"{self.reference.repository}: {answer.request}: {expected} was expected, not"
                f" {answer.status}: what answers is not a registry"
            )

    def _refused(self, answer: Answer) -> RegistryError:
        status = answer.status
        said = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in _errors(answer))
        where = f"{self.reference.repository}: {answer.request}: {status} {said}"
        if status in (401, 403) and not _is_quota(answer):
            return RegistryError(
                f"{where}. Credentials are taken from username and password, from docker_config (or"
                " ~/.docker/config.json, as 'docker login' and 'skopeo login' write it), and for"
                " Google's registries from the Google options",
                status,
            )
        return RegistryError(where, status)

    def _no_answer(self, error: NoAnswer) -> RegistryError:
        advice = {
            Cause.CERTIFICATE: ". Give the certificate of its CA with ca_cert where that is an option for"
            " registries, or a file with it and the public ones in SSL_CERT_FILE"
        }
        return RegistryError(
            f"{self.reference.registry} does not answer: {error}{advice.get(error.cause, '')}"
        )

    def _missing(self, digest: str) -> RegistryError:
        return RegistryError(f"{self.reference.repository}: blob {digest} is missing", 404)


def _context(verify: bool | str) -> Any:
    try:
        if verify is True:
            return None  # that of public servers
        ca_cert = Path(verify).read_text(encoding="utf-8") if isinstance(verify, str) else ""
        return private_context(ca_cert, verify=bool(verify))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"ca_cert: {verify} cannot be read: {error}") from error
    except SettingError as error:
        raise OptionError(str(error)) from error


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_descriptor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("mediaType"), str)
        and isinstance(value.get("size"), int)
        and _DIGEST.fullmatch(str(value.get("digest"))) is not None
    )


def _wrong_digest(reference: Reference, expected: str, actual: str) -> RegistryError:
    return RegistryError(
        f"{reference.repository}: {expected} was expected, and {actual} received: the registry, or"
        " something between, changed the content"
    )


def _errors(answer: Answer) -> list[Json]:
    try:
        found = answer.json["errors"]
    except (NoAnswer, KeyError, TypeError):
        return []
    return [error for error in _list(found) if isinstance(error, dict)]


def _is_quota(answer: Answer) -> bool:
    """Return whether a refusal is about room, not about rights (Harbor and others answer 403)."""
    return bool(re.search(r"quota|full|exceed|storage", json.dumps(_errors(answer)), re.I))

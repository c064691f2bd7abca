"""Files by URL, with a checksum and a cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .._http.client import REDIRECTS, HttpClient
from .._http.errors import NoAnswer, SettingError
from .._http.retries import Retries
from .._module.cache_folder import cache_folder
from .errors import KubeError

LARGEST_FILE = 64 << 20  # bytes


@dataclass(frozen=True)
class Download:
    """A URL and, where known, the "sha256:<hex>" of what it must give."""

    url: str
    checksum: str = ""


class Downloader:
    """Fetches files; keeps what was fetched in a folder.

    With a checksum the kept copy is used without asking. Without one the server is asked whether it
    changed (ETag); when it cannot be reached the kept copy has to do, and `warnings` says so.
    """

    def __init__(
        self, cache: Path, *, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._cache = cache
        self._timeout = timeout
        self._retries = retries or Retries(seconds=20)
        self.warnings: list[str] = []

    def content(self, download: Download) -> bytes:
        """Return the content of the URL; raises KubeError naming the URL and what to do."""
        algorithm, _colon, wanted = download.checksum.partition(":")
        if download.checksum and (algorithm != "sha256" or len(wanted) != 64):
            raise KubeError(
                f"urls: {download.url}: checksum '{download.checksum}' is not of the form"
                " sha256:<64 hexadecimal digits>"
            )
        kept = self._cache / hashlib.sha256(download.url.encode()).hexdigest()
        if wanted and kept.is_file():
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == wanted.lower():
                return content
        content, etag = self._fetch(download.url, kept, ask_for_changes=not wanted)
        found = hashlib.sha256(content).hexdigest()
        if wanted and found != wanted.lower():
            raise KubeError(
                f"urls: {download.url} has checksum sha256:{found}, not {download.checksum}:"
                " the file changed or was tampered with; correct the checksum if that is expected"
            )
        self._keep(kept, content, etag)
        return content

    def _fetch(self, url: str, kept: Path, *, ask_for_changes: bool) -> tuple[bytes, str]:
        if not url.startswith(("https://", "http://")):
            raise KubeError(f"urls: '{url}' is not an http(s) URL; use files for a path")
        headers = {}
        tag_file = kept.with_suffix(".etag")
        if ask_for_changes and kept.is_file() and tag_file.is_file():
            headers["If-None-Match"] = tag_file.read_text()
        try:
            http = HttpClient(timeout=self._timeout)
            answer = self._retries.send(
                lambda: http.request(
                    "GET", url, headers=headers, limit=LARGEST_FILE, redirects=REDIRECTS
                ),
                repeatable=True,
            )
        except SettingError as error:
            raise KubeError(f"urls: {url}: {error}") from error
        except NoAnswer as error:
            if ask_for_changes and kept.is_file():
                self.warnings.append(f"{url} cannot be reached; the copy kept in {kept} is used")
                return kept.read_bytes(), tag_file.read_text() if tag_file.is_file() else ""
            raise KubeError(f"urls: {error}: is a proxy or a mirror needed?") from error
        if answer.status == 304:
            return kept.read_bytes(), tag_file.read_text()
        if answer.status != 200:
            advice = (
                "is the version or the name right?" if answer.status == 404 else "try again later"
            )
            raise KubeError(f"urls: {url}: HTTP {answer.status}: {advice}")
        return answer.data, answer.headers.get("ETag", "")

    def _keep(self, kept: Path, content: bytes, etag: str) -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, content)
        write_whole(kept.with_suffix(".etag"), etag.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write whole or not at all: several runs may share the cache."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def cache_dir(given: str | None) -> Path:
    """Return the folder for downloads: the one given, or one below the user's cache."""
    return Path(given) if given else cache_folder()

"""Downloads: checksums, the cache, and what happens without the server."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.download import (
    Download,
    Downloader,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError

TEXT = "kind: ConfigMap\n"
SUM = f"sha256:{hashlib.sha256(TEXT.encode()).hexdigest()}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append(self.headers["If-None-Match"])
        status = server.status or (304 if self.headers["If-None-Match"] == '"1"' else 200)
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.end_headers()
        if status == 200:
            self.wfile.write(server.text.encode())

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    running: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.seen, running.status, running.text = [], 0, TEXT
    running.url = f"http://127.0.0.1:{running.server_port}/f.yaml"
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_with_a_checksum_the_kept_copy_needs_no_server(server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert Downloader(tmp_path).content(Download(server.url, SUM)) == TEXT.encode()
    assert len(server.seen) == 1


def test_without_one_the_server_is_asked_for_changes_only(server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        assert Downloader(tmp_path).content(Download(server.url)) == TEXT.encode()
    assert server.seen == [None, '"1"']


def test_a_wrong_checksum_is_refused_and_not_kept(server: Any, tmp_path: Path) -> None:
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(KubeError, match=f"has checksum {SUM}, not {wrong}: the file changed"):
        Downloader(tmp_path).content(Download(server.url, wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_kept_copy_that_was_damaged_is_fetched_again(server: Any, tmp_path: Path) -> None:
    Downloader(tmp_path).content(Download(server.url, SUM))
    (kept,) = [path for path in tmp_path.iterdir() if path.suffix != ".etag"]
    kept.write_text("damaged")
    assert Downloader(tmp_path).content(Download(server.url, SUM)) == TEXT.encode()


def test_a_version_that_does_not_exist_says_so(server: Any, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(KubeError, match=r"HTTP 404: is the version or the name right"):
        Downloader(tmp_path).content(Download(server.url))


def test_without_the_server_the_kept_copy_has_to_do(server: Any, tmp_path: Path) -> None:
    downloader = Downloader(tmp_path, retries=Retries(attempts=0))
    downloader.content(Download(server.url))
    gone = server.url.replace(str(server.server_port), "9")
    with pytest.raises(KubeError, match=r"cannot be reached .*proxy or a mirror"):
        downloader.content(Download(gone))
    (kept,) = [path for path in tmp_path.iterdir() if path.suffix != ".etag"]
    kept.rename(tmp_path / hashlib.sha256(gone.encode()).hexdigest())
    assert downloader.content(Download(gone)) == TEXT.encode()
    assert "cannot be reached; the copy kept in" in downloader.warnings[0]


@pytest.mark.parametrize("checksum", ["md5:abc", "sha256:abc", "abc"])
def test_a_checksum_of_another_form_is_refused(checksum: str, tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="is not of the form sha256:"):
        Downloader(tmp_path).content(Download("https://example.com/f", checksum))

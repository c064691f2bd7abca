"""The networks' stand-ins for the producer's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web
from support.producer import Kit, Sink

from streamops_sandbox import control_socket
from streamops_sandbox.home import Home
from streamops_sandbox.networks.app import create_app


class Networks:
    """Jetstream, Mastodon and feeds, with their control interface."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self.home: Path = kit.folder / "networks"
        Home(self.home).make()
        made: list[web.Application] = []

        def make(url: str) -> web.Application:
            made.append(create_app(home=self.home, base_url=url, publishing=False))
            return made[0]

        self.url = kit.loop.serve(make)
        kit.loop.serve_control("networks", made[0], self.home)

    @property
    def token_file(self) -> Path:
        """The file with Mastodon's token."""
        return self.home / "mastodon-token"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = control_socket.call(Home(self.home), method, f"/networks{path}", body)
        assert status == 200, answer
        return answer

    def post(self, network: str, *entries: dict[str, Any]) -> list[str]:
        """Publish in `jetstream`, `mastodon` or `feeds/NAME`; return the ids."""
        return self.control("POST", f"/{network}/posts", list(entries))

    def delete(self, network: str, *ids: str) -> None:
        self.control("POST", f"/{network}/deletions", list(ids))

    def fault(self, kind: str, **details: Any) -> None:
        self.control("POST", "/faults", {"kind": kind, **details})

    def settings(self, source: str, sink: Sink, **more: Any) -> dict[str, Any]:
        """Return settings for a producer that reads this source quickly, with a state file."""
        of_source = {
            "jetstream": {"topics": "knative", "jetstream_url": f"ws{self.url[4:]}/subscribe"},
            "mastodon": {"topics": "knative", "mastodon_url": self.url},
            "feed": {"feeds": f"{self.url}/feeds/a.atom", "feed_interval_seconds": 1},
        }
        return {
            "source": source,
            "k_sink": sink.url,
            "poll_interval_seconds": 0.1,
            "backoff_seconds": 0.02,
            "backoff_max_seconds": 0.1,
            "source_timeout_seconds": 2,
            "state": "file",
            "state_file": self._kit.folder / f"{source}.json",
            **of_source[source],
            **more,
        }

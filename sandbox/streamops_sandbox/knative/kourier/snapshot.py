"""What the gateway is told: who answers for which host, and where those are.

Takes the place of Envoy's xDS protobufs between net-kourier's controller and the gateway: one
server stream of gRPC, each message the whole state as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

#: The gRPC method the gateway calls, which Envoy's aggregated discovery has in the real one.
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


@dataclass(frozen=True)
class Split:
    """A share of a host's requests, in percent, for one backend (`namespace/service:port`)."""

    backend: str
    percent: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Path:
    """Splits of the requests below a path prefix."""

    prefix: str
    splits: list[Split]


@dataclass(frozen=True)
class Snapshot:
    """The whole state: paths by host, for both listeners, and addresses (`ip:port`) by backend."""

    version: int
    external: dict[str, list[Path]]
    internal: dict[str, list[Path]]
    backends: dict[str, list[str]]

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(self, default=vars, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Snapshot:
        """Read what `encode` made."""
        raw = json.loads(data)

        def hosts(part: dict[str, list[dict[str, object]]]) -> dict[str, list[Path]]:
            return {host: [_path(item) for item in paths] for host, paths in part.items()}

        return cls(raw["version"], hosts(raw["external"]), hosts(raw["internal"]), raw["backends"])


def _path(raw: dict[str, object]) -> Path:
    splits = raw["splits"]
    assert isinstance(splits, list)
    return Path(str(raw["prefix"]), [Split(**item) for item in splits])

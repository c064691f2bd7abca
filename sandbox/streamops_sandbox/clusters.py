"""What the stand-in for Google Kubernetes Engine uses to start and stop clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Cluster:
    """One running cluster.

    `url` is the API server's address (https), `ca_pem` the PEM certificate that signed its
    certificate, `kubeconfig_path` a file that gives whoever reads it `system:masters`.
    """

    name: str
    url: str
    ca_pem: str
    kubeconfig_path: Path


class ClusterManager(Protocol):
    """Starts and stops clusters; the supervisor implements it with one process for each."""

    async def create(
        self,
        name: str,
        *,
        google_url: str | None = None,
        google_project: str = "",
        google_project_number: str = "",
        google_location: str = "",
    ) -> Cluster:
        """Start the cluster `name` and return it once its API server answers.

        `google_url` is the base URL of Google's stand-in: with it the cluster accepts Google
        access tokens. With `google_project` (its id), too, pods get a metadata server and so
        identities of the project's workload pool. Raises ValueError where `name` is taken
        or no DNS label, RuntimeError (with the end of the log) where the process did not start.
        """

    async def delete(self, name: str) -> None:
        """Stop the cluster with all its pods and remove what it kept. KeyError if unknown."""

    def get(self, name: str) -> Cluster:
        """Return the cluster `name`. KeyError if unknown."""

    def list(self) -> list[Cluster]:
        """Return the clusters that run, by name."""

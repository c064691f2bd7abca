"""Secret Manager in the stand-in for Google, for the producer's tests and benchmark."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.api_core.exceptions import Conflict
from google.cloud import secretmanager
from google.oauth2 import service_account
from support.google import ApiServers
from support.producer import Kit, Sink, X

from streamops_sandbox.google.app import create_app

NAMES = ("api_key", "api_secret", "access_key", "access_secret")


@dataclass
class Secrets:
    """Secret Manager, seen by the project's owner."""

    url: str
    key_file: str

    def __post_init__(self) -> None:
        account = json.loads(Path(self.key_file).read_text())
        self.project = account["project_id"]
        self._client = secretmanager.SecretManagerServiceClient(
            transport="rest",
            client_options={"api_endpoint": self.url},
            credentials=service_account.Credentials.from_service_account_info(
                account, scopes=["https://www.googleapis.com/auth/cloud-platform"]
            ),
        )

    @classmethod
    def start(cls, kit: Kit) -> Secrets:
        """Start the stand-in; the kit stops it."""
        home = kit.folder / "google"
        home.mkdir()
        url = kit.loop.serve(
            lambda base: create_app(
                home=home,
                base_url=base,
                clusters=ApiServers(home / "clusters"),
                enabled_services=["secretmanager.googleapis.com"],
            )
        )
        return cls(url, str(home / "service-account.json"))

    def put(self, name: str, value: str) -> str:
        """Add a version, making the secret if it is not there; return the version's name."""
        parent = f"projects/{self.project}"
        with contextlib.suppress(Conflict):  # it is there, and gets another version
            self._client.create_secret(
                parent=parent, secret_id=name, secret={"replication": {"automatic": {}}}
            )
        version = self._client.add_secret_version(
            parent=f"{parent}/secrets/{name}", payload={"data": value.encode()}
        )
        return str(version.name)

    def store(self, keys: dict[str, str]) -> dict[str, str]:
        """Add X's keys under the names that the producer looks for; return the versions."""
        return {n: self.put("twitter-" + n.replace("_", "-"), keys[n]) for n in NAMES}

    def settings(self, kit: Kit, x: X, sink: Sink, **more: Any) -> dict[str, Any]:
        """Return settings for a producer that has its keys from here."""
        settings = kit.searching(x, sink)
        for name in NAMES:
            del settings["x_" + name]
        return {
            **settings,
            "credentials": "secretmanager",
            "google_cloud_project": self.project,
            "google_application_credentials": self.key_file,
            "secret_manager_url": self.url,
            **more,
        }

"""A key is rotated by the module while a producer runs: no restart, no lost post, no lost track of who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.google import Google, google_sandbox
from support.producer import Kit, Sink, wait_for

from streamops_sandbox.google.app import PROJECT

PRODUCER = f"serviceAccount:producer@{PROJECT}.iam.gserviceaccount.com"
NAMES = ("api_key", "api_secret", "access_key", "access_secret")


def store(google: Google, keys: dict[str, str], **options: Any) -> dict[str, Any]:
    """What the role secrets does."""
    secrets = [{"name": f"twitter-{n.replace('_', '-')}", "value": keys[n]} for n in NAMES]
    defaults = {
        "accessors": [PRODUCER],
        "purge_accessors": True,
        "old_versions": "disable",
        "grace_period": 3600,
    }
    result = google.run("gcp_secret", secrets=secrets, **{**defaults, **options})
    assert not result.get("failed"), result
    return result


def states(google: Google, name: str) -> list[str]:
    """States of a secret's versions, newest first."""
    (secret,) = google.run("gcp_secret_info", name=name)["secrets"]
    return [version["state"] for version in secret["versions"]]


def arrived(sink: Sink, count: int) -> None:
    """Wait until so many posts have; a producer that was refused asks again after 30 s."""
    wait_for(lambda: len(sink.received) == count, timeout=100)


def test_rotation_end_to_end(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    with google_sandbox(tmp_path / "google") as google:
        try:
            x, sink = kit.x(), kit.sink()
            account = google.control("POST", "principals", {"member": PRODUCER, "project": PROJECT})
            (tmp_path / "producer.json").write_text(json.dumps(account))
            store(google, x.keys)
            settings = {k: v for k, v in kit.searching(x, sink).items() if k[2:] not in NAMES}
            producer = kit.producer(
                **{**settings, "poll_interval_seconds": 2},
                credentials="secretmanager",
                credentials_refresh_seconds=0.5,
                google_cloud_project=PROJECT,
                google_application_credentials=tmp_path / "producer.json",
                secret_manager_url=google.url,
            )
            x.publish_many(1)
            arrived(sink, 1)
            pid = producer.pid

            x.control("POST", "/keys")  # the old ones are no good from now on
            assert len(store(google, x.keys)["changes"]) == 4
            x.publish_many(1)
            arrived(sink, 2)
            assert states(google, "twitter-api-key") == ["ENABLED", "ENABLED"]

            store(google, x.keys, grace_period=0)
            assert states(google, "twitter-api-key") == ["ENABLED", "DISABLED"]
            x.publish_many(1)
            arrived(sink, 3)

            store(google, x.keys, accessors=[])
            wait_for(lambda: "secretmanager.versions.access" in json.dumps(producer.log))
            assert producer.running, "it says so and goes on with the keys it has"
            x.publish_many(1)
            arrived(sink, 4)

            store(google, x.keys)
            assert producer.pid == pid
            assert not any(key in json.dumps(producer.log) for key in x.keys.values())
        finally:
            kit.close()

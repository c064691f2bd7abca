"""Keys from Secret Manager, through Google's client against the stand-in for its API."""

from __future__ import annotations

import json
from typing import Any

import google_crc32c
import pytest
import requests
from google.cloud import secretmanager
from support.producer import PATIENCE, Kit, Producer, X, wait_for
from support.producer_secrets import Secrets

from twitter_producer.credentials import CredentialsError, verify_checksum


@pytest.fixture
def secrets(kit: Kit) -> Secrets:
    return Secrets.start(kit)


def test_newest_versions_are_used_logged_and_replaced_on_401(kit: Kit, secrets: Secrets) -> None:
    x, sink = kit.x(), kit.sink()
    versions = secrets.store(x.keys)
    ids = x.publish_many(1)
    producer = kit.producer(**secrets.settings(kit, x, sink))
    wait_for(lambda: sink.ids == ids)
    wait_for(lambda: _versions(producer) == versions)
    x.control("POST", "/keys")
    versions = secrets.store(x.keys)
    ids += x.publish_many(1)
    wait_for(lambda: sink.ids == ids, explain=lambda: f"{sink.ids} {producer.log}")
    wait_for(lambda: _versions(producer) == versions)
    assert producer.resident_mib() < 90, producer.resident_mib()
    shown = json.dumps(producer.log)
    assert not any(key in shown for key in x.keys.values())


def _versions(producer: Producer) -> dict[str, str]:
    """Return the versions that the log names; it is read by a thread, somewhat later."""
    read = [entry for entry in producer.log if entry["message"] == "read a secret"]
    return {entry["secret"]: entry["version"] for entry in read}


@pytest.mark.parametrize("source", ["search", "stream"])
def test_keys_that_come_after_x_refuses_the_old_ones_are_used_soon(kit: Kit, source: str) -> None:
    x, sink = kit.x(), kit.sink()
    folder = kit.folder / "keys"
    folder.mkdir()

    def put_keys() -> None:
        for name in ("api_key", "api_secret"):
            (folder / name).write_text(x.keys[name])

    put_keys()
    settings = kit.searching(x, sink, source=source, credentials="files", credentials_dir=folder)
    producer = kit.producer(**settings)
    ids = x.publish_many(1)
    wait_for(lambda: sink.ids == ids)
    x.control("POST", "/keys")
    x.control("POST", "/disconnect")
    refused = producer.saying("X refuses the credentials")
    assert refused["next_in_seconds"] >= 15, "X is to be asked seldom"
    put_keys()
    ids += x.publish_many(1)
    # Sooner than X would have been asked again.
    within = refused["next_in_seconds"] - 1
    wait_for(lambda: sink.ids == ids, within, lambda: str(producer.log))


def test_rotation_is_noticed_on_the_timer(kit: Kit, secrets: Secrets) -> None:
    x, sink = kit.x(), kit.sink()
    secrets.store(x.keys)
    settings = secrets.settings(kit, x, sink, credentials_refresh_seconds=0.3)
    producer = kit.producer(**settings)
    producer.saying("read a secret")
    secrets.put("twitter-api-key", x.keys["api_key"] + "\n")
    wait_for(lambda: any(str(e.get("version", "")).endswith("/2") for e in producer.log))


def test_pinned_version_and_bearer(kit: Kit, secrets: Secrets) -> None:
    x, sink = kit.x(), kit.sink()
    secrets.put("x-bearer", x.keys["bearer_token"])
    secrets.put("x-bearer", "not-this-one")
    x.publish_many(1)
    pinned = f"projects/{secrets.project}/secrets/x-bearer/versions/1"
    kit.producer(**secrets.settings(kit, x, sink, secret_bearer_token=pinned))
    wait_for(lambda: sink.received)


def test_missing_secret_is_named_and_waited_for(kit: Kit, secrets: Secrets) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**secrets.settings(kit, x, sink))
    entry = producer.saying("the credentials cannot be used yet")
    assert "secrets/twitter-api-key" in entry["error"]
    assert requests.get(producer.url + "/readyz", timeout=PATIENCE).status_code == 503
    secrets.store(x.keys)
    x.publish_many(1)
    wait_for(lambda: sink.received)
    assert requests.get(producer.url + "/readyz", timeout=PATIENCE).status_code == 200


def test_payload_that_does_not_fit_its_checksum_is_refused() -> None:
    payload = secretmanager.SecretPayload(
        data=b"key", data_crc32c=google_crc32c.value(b"another key")
    )
    with pytest.raises(CredentialsError, match="checksum"):
        verify_checksum("projects/p/secrets/s/versions/1", payload)
    payload.data_crc32c = google_crc32c.value(b"key")
    verify_checksum("projects/p/secrets/s/versions/1", payload)


@pytest.mark.parametrize("content", ['{"api_key": "abc"}', "two words", "\x00", "ключ"])
def test_file_with_a_malformed_key_is_named_and_its_content_is_not(kit: Kit, content: str) -> None:
    x, sink = kit.x(), kit.sink()
    folder = kit.folder / "keys"
    folder.mkdir()
    for name, key in x.keys.items():
        (folder / name).write_text(key)
    (folder / "api_key").write_text(content)
    settings = kit.searching(x, sink, credentials="files", credentials_dir=folder, run_once="true")
    producer = kit.producer(**settings)
    assert producer.wait() == 1
    assert "api_key is malformed" in producer.log[-1]["message"]
    assert content not in json.dumps(producer.log, ensure_ascii=False)


def test_bearer_that_is_not_a_text_is_not_used(kit: Kit, x_answers: Any) -> None:
    x, sink = kit.x(), kit.sink()
    front = x_answers(x, [(200, {}, b'{"access_token": {"a": 1}}')], path="/oauth2/token")
    settings = kit.searching(X.at(front, x.home), sink, x_access_key="", x_access_secret="")
    producer = kit.producer(**settings)
    assert "malformed bearer" in producer.saying("the credentials cannot be used yet")["error"]
    ids = x.publish_many(1)
    wait_for(lambda: sink.ids == ids)


def test_files_without_keys_are_named(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    folder = kit.folder / "empty"
    folder.mkdir()
    settings = kit.searching(x, sink, credentials="files", credentials_dir=folder, run_once="true")
    producer = kit.producer(**settings)
    assert producer.wait() == 1
    assert str(folder) in producer.log[-1]["message"]

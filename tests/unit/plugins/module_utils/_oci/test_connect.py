"""Registries of Google Cloud are read without credentials where what they have is public."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import GcpError
from ansible_collections.streamops.knative.plugins.module_utils._oci import connect
from ansible_collections.streamops.knative.plugins.module_utils._oci.argspec import REGISTRY
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import RegistryError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference

OPTIONS = {name: spec.get("default") for name, spec in REGISTRY.items()}
PUBLIC = Reference.parse("gcr.io/knative-releases/queue:v1", "images")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no credentials of any kind."""

    def refuse(_options: dict[str, Any]) -> None:
        raise GcpError("no credentials were found")

    monkeypatch.setattr(connect, "session", refuse)
    monkeypatch.setattr(connect, "_configurations", lambda _given: [])


def test_a_module_that_is_about_the_registry_says_what_is_missing() -> None:
    with pytest.raises(RegistryError, match="no credentials were found"):
        connect.open_repository(PUBLIC, PUBLIC, OPTIONS)


def test_what_is_public_is_read_without_credentials() -> None:
    connect.open_repository(PUBLIC, PUBLIC, {**OPTIONS, **connect.ANONYMOUS})

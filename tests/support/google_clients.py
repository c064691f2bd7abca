"""Google's own clients, pointed at the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from google.api_core.client_options import ClientOptions
from google.cloud import secretmanager
from google.oauth2 import service_account
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from support.google import Google

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
EMAIL_SCOPE = "https://www.googleapis.com/auth/userinfo.email"


def key(google: Google, *scopes: str) -> service_account.Credentials:
    """Credentials of the project's owner."""
    return service_account.Credentials.from_service_account_file(
        google.key_file, scopes=[*SCOPES, *scopes]
    )


def secrets_as(google: Google, credentials: Any) -> secretmanager.SecretManagerServiceClient:
    """google-cloud-secret-manager over REST."""
    return secretmanager.SecretManagerServiceClient(
        credentials=credentials,
        transport="rest",
        client_options=ClientOptions(api_endpoint=google.url),
    )


def api(google: Google, name: str, version: str) -> Any:
    """google-api-python-client for one API."""
    document = get_static_doc(name, version)
    assert document
    return build_from_document(
        document, credentials=key(google), client_options={"api_endpoint": google.url}
    )


def finished(poll: Callable[[], dict[str, Any]], seconds: float = 60) -> dict[str, Any]:
    """The operation once it is done."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        operation = poll()
        if operation.get("done") or operation.get("status") == "DONE":
            return operation
        time.sleep(0.05)
    raise AssertionError("the operation did not end")

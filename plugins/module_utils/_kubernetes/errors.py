"""What can go wrong between us and a Kubernetes API server, each with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Absolute: pylint of ansible-test does not follow a relative import to the base of an exception.
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError

from .._http.retries import ETCD


class KubeError(TaskError):
    """Base of the errors about manifests and clusters.

    `is_transient` is whether the same request may be answered otherwise a moment later, `in_doubt`
    whether the server may have carried it out all the same.
    """

    is_transient = False
    in_doubt = False


@contextmanager
def accounting(*, changed: bool = False, dry_run: bool = False) -> Iterator[None]:
    """Have errors report whether something was `changed` before, or may have been by a lost answer."""
    try:
        yield
    except KubeError as error:
        known = error.result.get("changed")
        lost = error.in_doubt and not dry_run if known is None else known
        error.result["changed"] = changed or lost
        raise


class ConfigError(KubeError):
    """The kubeconfig or the connection options cannot be used."""


class Unreachable(KubeError):
    """No answer from the API server: name, network, TLS or time."""

    def __init__(self, message: str, *, is_transient: bool = True, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient
        self.in_doubt = in_doubt


class ApiError(KubeError):
    """The API server answered with a Status other than success.

    `status` is the HTTP code, `reason` the machine-readable word ("Conflict"), `causes` the list of
    `{"reason", "message", "field"}` of the Status' details (meta/v1 Status in the Kubernetes API).
    `repeated` is whether the request had been sent before, without a usable answer.
    """

    def __init__(
        self, status: int, body: dict[str, Any], action: str, *, repeated: bool = False
    ) -> None:
        self.status = status
        self.repeated = repeated
        message = body.get("message")
        #: The API's own, or that of something on the way to it.
        self.is_status = body.get("kind") == "Status"
        self.reason: str = str(body.get("reason") or "")
        self.message: str = message if message and isinstance(message, str) else f"HTTP {status}"
        details = body.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        self.causes: list[dict[str, str]] = causes or []
        self.action = action
        etcd = any(word.decode() in self.message for word in ETCD)
        # The server's gateway, or its etcd, did not answer in time.
        self.in_doubt = status in (502, 504) or (status == 500 and etcd)
        self.is_transient = self.in_doubt or status in (429, 503)
        super().__init__(
            f"{action}: {self.message}{_advice(status, self.message)}",
            status=self.status,
            reason=self.reason,
        )

    @property
    def not_found(self) -> bool:
        """Neither the object nor, perhaps, its kind is there; a proxy's 404 does not say so."""
        # The API server's own words for a path that it does not serve.
        return self.status == 404 and (self.is_status or self.message.startswith("404 page not"))

    @property
    def conflicts(self) -> list[dict[str, str]]:
        """Fields another manager owns, as `{"manager", "field"}`; empty for other errors."""
        return [
            {"manager": _manager(cause.get("message", "")), "field": cause.get("field", "")}
            for cause in self.causes
            if cause.get("reason") == "FieldManagerConflict"
        ]


def _manager(message: str) -> str:
    """Return the name in `conflict with "kubectl" using apps/v1` (the wording is the API server's)."""
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else message


def _advice(status: int, message: str) -> str:
    if status == 401:
        return (
            ". The token or certificate was refused or has expired: log in again and renew the"
            " kubeconfig, or give api_key, or client_cert and client_key."
        )
    if status == 403 and "cannot" in message:
        return ". Ask an administrator for a role that allows this, or use another context."
    return ""

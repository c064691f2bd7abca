"""Which failures of a write are tried again: those that time alone may mend, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply import retryable
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import ApiError

WEBHOOK = 'Internal error occurred: failed calling webhook "w.example.com": failed to call webhook:'
CONVERSION = "conversion webhook for example.com/v1, Kind=Widget failed: Post"
TERMINATING = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
OWNED = {"causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"'}]}
UNKNOWN_KIND = "the server could not find the requested resource"


def error(status: int, message: str, details: Any = None) -> ApiError:
    body = {"kind": "Status", "message": message, "details": details or {}}
    return ApiError(status, body, "PATCH /x")


@pytest.mark.parametrize(
    "failure",
    [
        error(500, f"{WEBHOOK} no endpoints available for service"),
        error(500, f"{WEBHOOK} connect: connection refused"),
        error(500, f"{WEBHOOK} x509: certificate signed by unknown authority"),
        error(500, CONVERSION),
        error(503, "the server is currently unable to handle the request"),
        error(429, "too many requests"),
        error(409, "the object has been modified; please apply your changes to the latest"),
        error(403, "forbidden: unable to create new content in namespace", TERMINATING),
    ],
    ids=str,
)
def test_tried_again(failure: ApiError) -> None:
    assert retryable(failure)


@pytest.mark.parametrize(
    "failure",
    [
        error(400, 'admission webhook "w.example.com" denied the request: no'),
        error(500, "etcdserver: request timed out"),
        error(403, 'configmaps is forbidden: User "a" cannot create resource'),
        error(409, "Apply failed with 1 conflict", OWNED),
        error(422, "Deployment.apps is invalid"),
        error(401, "Unauthorized"),
        error(404, UNKNOWN_KIND),
    ],
    ids=str,
)
def test_not_tried_again(failure: ApiError) -> None:
    assert not retryable(failure)


@pytest.mark.parametrize(
    "message", [UNKNOWN_KIND, 'namespaces "new" not found', "404 page not found\n"]
)
def test_what_the_bundle_itself_brings_is_waited_for(message: str) -> None:
    assert retryable(error(404, message), in_bundle=True)
    assert not retryable(error(404, 'configmaps "a" not found'), in_bundle=True)

"""What can go wrong with Google's APIs, and what to do about it.

Errors carry Google's own words and details (https://cloud.google.com/apis/design/errors); `str()`
of one is what a module fails with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Absolute: pylint of ansible-test does not follow a relative import to the base of an exception.
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError

_TYPE = "type.googleapis.com/google.rpc."

#: Beginning of a permission's name -> a predefined role that holds it.
_ROLES = (
    ("secretmanager.versions.access", "roles/secretmanager.secretAccessor"),
    ("secretmanager.", "roles/secretmanager.admin"),
    ("container.", "roles/container.admin"),
    ("artifactregistry.", "roles/artifactregistry.admin"),
    ("serviceusage.", "roles/serviceusage.serviceUsageAdmin"),
    ("iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"),
    ("iam.serviceAccounts.getAccessToken", "roles/iam.serviceAccountTokenCreator"),
    ("iam.serviceAccounts.", "roles/iam.serviceAccountAdmin"),
    ("resourcemanager.projects.get", "roles/browser"),
    ("resourcemanager.projects.", "roles/resourcemanager.projectIamAdmin"),
)

#: A permission and a resource in the messages of services that give no google.rpc.ErrorInfo.
_PERMISSION = re.compile(
    r"\b(?:artifactregistry|container|iam|resourcemanager|secretmanager|serviceusage)"
    r"(?:\.[A-Za-z]+){2}\b"
)
_RESOURCE = re.compile(r"\bprojects/[^\s'\"()]+")
#: A limit on how often (in its name or its unit), as opposed to one on how many.
_RATE = re.compile(r"per[ _]?\w*(?:minute|second)|/min\b|/s\b", re.IGNORECASE)


class GcpError(TaskError):
    """Base of the errors about Google Cloud; `result` holds what was done before it."""


class ConfigError(GcpError):
    """The options are wrong; nothing was sent."""


class CredentialsError(GcpError):
    """No credentials were found, or Google's token endpoint refused them."""


class TokenUnavailable(CredentialsError):
    """The token endpoint did not answer as one; a later attempt may succeed."""


class Unreachable(GcpError):
    """No answer came. `sent` is whether the request may have arrived."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class UnexpectedAnswer(GcpError):
    """The answer is not what the API's contract says, so it is treated as no answer."""

    sent = True

    def __init__(self, request: str, what: str) -> None:
        super().__init__(
            f"{request}: the answer is not Google's: {what}. Check the proxy, the network and the"
            " option endpoint."
        )


class OperationFailed(GcpError):
    """A long-running operation ended with an error."""


class OperationTimeout(GcpError):
    """A long-running operation is not done in the time given; it goes on at Google's."""


class OperationLost(GcpError):
    """Google does not tell how a long-running operation goes."""

    def __init__(self, name: str, cause: GcpError) -> None:
        super().__init__(
            f"{cause} Whether the operation {name} succeeded is not known; it goes on. Run this again."
        )


class ApiError(GcpError):
    """Google answered an error.

    `code` is the HTTP status, `status` the name of the google.rpc.Code, `reason` and `metadata`
    those of google.rpc.ErrorInfo ("" and {} where there is none).
    """

    def __init__(self, code: int, body: Any, request: str, caller: str = "") -> None:
        error = body.get("error") if isinstance(body, Mapping) else None
        self.code = code
        self.is_googles = isinstance(error, Mapping)
        error = error if isinstance(error, Mapping) else {"message": str(body)[:500]}
        self.status: str = error.get("status") or f"HTTP {code}"
        self.message: str = error.get("message") or self.status
        self.details: list[Mapping[str, Any]] = list(error.get("details", []))
        info = self.detail("ErrorInfo")
        self.reason: str = info.get("reason", "")
        self.metadata: Mapping[str, str] = info.get("metadata", {})
        self.caller = caller
        advice = self.advice()
        super().__init__(
            f"{request}: {self.status}: {self.message}" + (f" {advice}" if advice else "")
        )

    def advice(self) -> str:
        """Return what to do; "" where the message says it."""
        return (
            "" if self.is_googles else "Google answers otherwise: check option endpoint and proxy."
        )

    def detail(self, kind: str) -> Mapping[str, Any]:
        """Return a google.rpc message of the error's details; {} where there is none of its kind."""
        return next((d for d in self.details if d.get("@type") == _TYPE + kind), {})


class NotFound(ApiError):
    """404."""


class NotEnabledYet(NotFound):
    """In check mode: the API is not enabled, so there is nothing yet."""


class Conflict(ApiError):
    """The resource was modified concurrently."""


class AlreadyExists(Conflict):
    """409: the resource was created concurrently."""


class Aborted(Conflict):
    """409, 412, or 400 about an etag: the etag or fingerprint is no longer the current one."""


class FailedPrecondition(ApiError):
    """400: not in this state."""


class Unauthenticated(ApiError):
    """401: the credentials are not accepted."""

    def advice(self) -> str:
        """Return where credentials come from."""
        return (
            "The credentials are expired, revoked or meant for something else. A token that was"
            " given (auth_kind accesstoken) has to be a new one; a key may be deleted or its account"
            " disabled."
        )


class PermissionDenied(ApiError):
    """403: the caller may not."""

    def advice(self) -> str:
        """Return which permission is missing on what, and a command that grants it."""
        permission = self.metadata.get("permission") or _found(_PERMISSION, self.message)
        resource = self.metadata.get("resource") or _found(_RESOURCE, self.message)
        if not permission:
            return (
                "Either it does not exist, or the caller may not use it: check the name and the"
                " caller's roles."
            )
        role = next((role for start, role in _ROLES if permission.startswith(start)), "ROLE")
        project = (_found(_RESOURCE, resource) or "/PROJECT").split("/")[1]
        member = f"user:{self.caller or 'EMAIL'}"
        if self.caller.endswith("gserviceaccount.com"):
            member = f"serviceAccount:{self.caller}"
        return (
            f"Grant {self.caller or 'the caller'} {permission} on {resource or project}, for"
            f" example: gcloud projects add-iam-policy-binding {project} --member={member}"
            f" --role={role}"
        )


class ServiceDisabled(ApiError):
    """403: the API is not enabled in the project."""

    def advice(self) -> str:
        """Return how to enable it."""
        return (
            "With this collection: streamops.knative.gcp_services with services:"
            f" [{self.metadata.get('service', 'SERVICE')}]."
        )


class BillingDisabled(ApiError):
    """403 or 400: the project has no billing account."""

    def advice(self) -> str:
        """Return how to link one."""
        consumer = self.metadata.get("consumer", "").removeprefix("projects/")
        project = consumer or self.metadata.get("project") or "PROJECT"
        return f"gcloud billing projects link {project} --billing-account=ACCOUNT links an account."


class QuotaExceeded(ApiError):
    """429 that waiting does not help against, or 403 that speaks of a quota."""

    def advice(self) -> str:
        """Return which quota, and where to raise it."""
        limit = self.metadata.get("quota_limit", "")
        named = f"The quota is {limit}. " if limit else ""
        if is_rate(self):
            return f"{named}It is one per time: run this again later, or raise request_retries."
        return f"{named}Delete what is not needed, or ask for more at IAM & Admin > Quotas."


_BY_REASON: Mapping[str, type[ApiError]] = {
    "SERVICE_DISABLED": ServiceDisabled,
    "BILLING_DISABLED": BillingDisabled,
    "UREQ_PROJECT_BILLING_NOT_FOUND": BillingDisabled,
}
_BY_STATUS: Mapping[str, type[ApiError]] = {
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "ABORTED": Aborted,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": QuotaExceeded,
}


def from_answer(code: int, body: Any, request: str, caller: str = "") -> ApiError:
    """Return the error of the type that fits an answer."""
    error = ApiError(code, body, request)
    kind = _BY_REASON.get(error.reason) or _BY_STATUS.get(error.status, ApiError)
    text = error.message.lower()
    if code == 412 or (kind is FailedPrecondition and "etag" in text):
        kind = Aborted  # of a fingerprint, a resource version or an etag
    elif kind in (PermissionDenied, FailedPrecondition) and "quota" in text:
        kind = QuotaExceeded  # how GKE says that a region is full
    return kind(code, body, request, caller)


def is_rate(error: ApiError) -> bool:
    """Return whether a limit is on how often, which passes, and not on how many."""
    info = error.metadata
    return bool(_RATE.search(f"{info.get('quota_limit', '')} {info.get('quota_unit', '')}"))


def retry_delay(error: ApiError) -> float:
    """Return the seconds that Google asks to wait, by a google.rpc.RetryInfo; 0 where it does not say."""
    asked = str(error.detail("RetryInfo").get("retryDelay", "")).removesuffix("s")
    return float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else 0.0


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[0].rstrip(".") if found else ""

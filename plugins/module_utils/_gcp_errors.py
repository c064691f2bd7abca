"""What can go wrong with Google's APIs, and what to do about it.

Errors carry Google's own words and details (https://cloud.google.com/apis/design/errors); `str()`
of one is what a module fails with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


class GcpError(Exception):
    """Something about Google Cloud did not work; the text says what and what to do.

    `result` is returned with the failure: what was done before it.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.result: dict[str, Any] = {}


class ConfigError(GcpError):
    """The options are wrong; nothing was sent."""


class CredentialsError(GcpError):
    """There are no credentials, or Google's token endpoint refuses them."""


class Unreachable(GcpError):
    """No answer came."""


class OperationFailed(GcpError):
    """A long-running operation ended with an error."""


class OperationTimeout(GcpError):
    """A long-running operation is not done in the time given; it goes on at Google's."""


class ApiError(GcpError):
    """Google answered an error.

    `code` is the HTTP status, `status` the name of the google.rpc.Code, `reason` and `metadata`
    those of google.rpc.ErrorInfo ("" and {} where there is none).
    """

    def __init__(self, code: int, body: Any, request: str, caller: str = "") -> None:
        error = body.get("error") if isinstance(body, Mapping) else None
        error = error if isinstance(error, Mapping) else {"message": str(body)[:500]}
        self.code = code
        self.status: str = error.get("status") or f"HTTP {code}"
        self.message: str = error.get("message") or self.status
        self.details: list[Mapping[str, Any]] = list(error.get("details", []))
        info = self._detail("ErrorInfo")
        self.reason: str = info.get("reason", "")
        self.metadata: Mapping[str, str] = info.get("metadata", {})
        self.caller = caller
        advice = self.advice()
        super().__init__(
            f"{request}: {self.status}: {self.message}" + (f" {advice}" if advice else "")
        )

    def advice(self) -> str:
        """What to do; "" where the message says it."""
        return ""

    def _detail(self, kind: str) -> Mapping[str, Any]:
        return next((d for d in self.details if d.get("@type") == _TYPE + kind), {})


class NotFound(ApiError):
    """404."""


class NotEnabledYet(NotFound):
    """In check mode: the API is not enabled, so there is nothing yet."""


class AlreadyExists(ApiError):
    """409: somebody made it meanwhile."""


class Aborted(ApiError):
    """409, or 412: the etag or fingerprint is no longer the current one."""


class FailedPrecondition(ApiError):
    """400: not in this state."""


class Unauthenticated(ApiError):
    """401: the credentials are not accepted."""

    def advice(self) -> str:
        """Where credentials come from."""
        return (
            "The access token is expired, revoked or meant for something else: pass a new one, or"
            " use auth_kind application or serviceaccount, which renew theirs."
        )


class PermissionDenied(ApiError):
    """403: the caller may not."""

    def advice(self) -> str:
        """Which permission is missing on what, and a command that grants it."""
        permission = self.metadata.get("permission", "")
        resource = self.metadata.get("resource", "")
        if not permission:
            return (
                "Either it does not exist, or the caller may not use it: check the name and the"
                " caller's roles."
            )
        role = next((role for start, role in _ROLES if permission.startswith(start)), "")
        who = self.caller or "the caller"
        project = resource.split("/")[1] if resource.startswith("projects/") else "PROJECT"
        kind = "serviceAccount" if who.endswith("gserviceaccount.com") else "user"
        member = f"{kind}:{who}" if self.caller else "user:EMAIL"
        return (
            f"Grant {who} {permission} on {resource}, for example: gcloud projects"
            f" add-iam-policy-binding {project} --member={member} --role={role or 'ROLE'}"
        )


class ServiceDisabled(ApiError):
    """403: the API is not enabled in the project."""

    def advice(self) -> str:
        """How to enable it."""
        return (
            "With this collection: streamops.knative.gcp_services with services:"
            f" [{self.metadata.get('service', 'SERVICE')}]."
        )


class BillingDisabled(ApiError):
    """403 or 400: the project has no billing account."""

    def advice(self) -> str:
        """How to link one."""
        return "gcloud billing projects link PROJECT --billing-account=ACCOUNT links an account."


class QuotaExceeded(ApiError):
    """429 that waiting does not help against, or 403 with a quota's name."""

    def advice(self) -> str:
        """Which quota, and where to raise it."""
        limit = self.metadata.get("quota_limit", "")
        named = f" The quota is {limit}." if limit else ""
        return (
            f"{named} Delete what is not needed, or ask for more at IAM & Admin > Quotas.".strip()
        )


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
    """The error of the type that fits an answer."""
    error = ApiError(code, body, request)
    if code == 412:  # a fingerprint or resource version that is no longer the current one
        return Aborted(code, body, request, caller)
    kind = _BY_REASON.get(error.reason) or _BY_STATUS.get(error.status)
    if kind is None:
        kind = NotFound if code == 404 else ApiError
    return kind(code, body, request, caller)

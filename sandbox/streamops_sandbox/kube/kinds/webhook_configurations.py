"""Validating and mutating webhook configurations."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamops_sandbox.kube import cel, names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object

_URL_FORM = "desired format: https://host[/path]"
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


@function
def webhook_name(name: str | None, field: str, found: Causes, _: Object) -> None:
    """Check a webhook's name, which is a domain of its own."""
    if not name:
        found.required(field)
    elif names.subdomain(name) or name.count(".") < 2:
        short = ["should be a domain with at least three segments separated by dots"]
        found.problems(field, name, names.subdomain(name) or short)


@function
def review_versions(versions: list[str] | None, field: str, found: Causes, _: Object) -> None:
    """Check the versions of AdmissionReview that a webhook understands."""
    if not versions:
        found.required(field, "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(versions):
        found.invalid(field, versions, "must include at least one of v1, v1beta1")


@function
def webhook_rule(rule: Object, field: str, found: Causes, _: Object) -> None:
    """Check which requests a webhook is asked about."""
    for key in ("operations", "apiGroups", "apiVersions", "resources"):
        values = rule.get(key) or []
        if not values:
            found.required(f"{field}.{key}")
        whole = "*/*" if key == "resources" else "*"
        if len(values) > 1 and whole in values:
            what = {"apiGroups": "API groups", "apiVersions": "API versions"}.get(key, key)
            text = f"if '{whole}' is present, must not specify other {what}"
            found.invalid(f"{field}.{key}", values, text)
        for index, operation in enumerate(values if key == "operations" else []):
            if operation not in _OPERATIONS:
                found.unsupported(f"{field}.operations[{index}]", operation, _OPERATIONS)
    found.one_of(rule, "scope", field, ("*", "Cluster", "Namespaced"))


@function
def webhook_url(url: str | None, field: str, found: Causes, _: Object) -> None:
    """Check where a webhook outside of the cluster is."""
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        text = f"'https' is the only allowed URL scheme; {_URL_FORM}"
        found.invalid(field, parts.scheme, text)
    if not parts.netloc:
        found.invalid(field, "", f"host must be specified; {_URL_FORM}")


@function
def match_condition(expression: str | None, field: str, found: Causes, _: Object) -> None:
    """Check the expression of a webhook's match condition."""
    if not (expression or "").strip():
        found.required(field)
        return
    mistyped = "must evaluate to bool but got {}"
    problem = cel.problem(expression or "", cel.ADMISSION, mistyped=mistyped)
    if problem:
        found.invalid(field, expression, problem)

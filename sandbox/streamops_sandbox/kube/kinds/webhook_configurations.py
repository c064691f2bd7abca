"""Validating and mutating webhook configurations."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamops_sandbox.kube import cel, names
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object

_URL_FORM = "desired format: https://host[/path]"
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


@function
def webhooks(webhooks: list[Object] | None, field: str, found: Causes, _: Object) -> None:
    """Check each webhook of a configuration."""
    seen: set[str] = set()
    for index, webhook in enumerate(webhooks or []):
        place, name = f"{field}[{index}]", webhook.get("name", "")
        declared.check_shape(webhook, "webhook", found, place)
        conditions = [item.get("name") for item in webhook.get("matchConditions") or []]
        found.unique(f"{place}.matchConditions[].name", conditions)
        if name in seen:
            found.duplicate(f"{place}.name", name)
        seen.add(name)


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
def webhook_timeout(seconds: int, field: str, found: Causes, _: Object) -> None:
    """Check a webhook's timeout."""
    if not 1 <= seconds <= 30:
        found.invalid(field, seconds, "the timeout value must be between 1 and 30 seconds")


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
def client_config(client: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check where a webhook is."""
    url, service = (client or {}).get("url"), (client or {}).get("service")
    if (url is None) == (service is None):
        found.required(field, "exactly one of url or service is required")
    elif url is not None:
        parts = urlsplit(url)
        if parts.scheme != "https":
            text = f"'https' is the only allowed URL scheme; {_URL_FORM}"
            found.invalid(f"{field}.url", parts.scheme, text)
        if not parts.netloc:
            found.invalid(f"{field}.url", "", f"host must be specified; {_URL_FORM}")
    elif service is not None:
        for key in ("name", "namespace"):
            if not service.get(key):
                found.required(f"{field}.service.{key}", f"service {key} is required")
        port = service.get("port", 443)
        if not 1 <= port <= 65535:
            text = "port is not valid: must be between 1 and 65535, inclusive"
            found.invalid(f"{field}.service.port", port, text)
        path = service.get("path")
        if path is not None and not path.startswith("/"):
            found.invalid(f"{field}.service.path", path, "must start with a '/'")


@function
def match_condition(condition: Object, field: str, found: Causes, _: Object) -> None:
    """Check one of a webhook's match conditions."""
    if not condition.get("name"):
        found.required(f"{field}.name")
    else:
        found.problems(
            f"{field}.name", condition["name"], names.label_key_problems(condition["name"])
        )
    expression = condition.get("expression", "")
    if not expression.strip():
        found.required(f"{field}.expression")
        return
    mistyped = "must evaluate to bool but got {}"
    problem = cel.problem(expression, cel.ADMISSION, mistyped=mistyped)
    if problem:
        found.invalid(f"{field}.expression", expression, problem)

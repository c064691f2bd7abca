"""Validating and mutating webhook configurations."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from streamops_sandbox.kube import cel, names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

Json = dict[str, Any]
_URL_FORM = "desired format: https://host[/path]"
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


class WebhookConfigurations(Strategy):
    """Both kinds; only mutating webhooks can be asked again."""

    tracks_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating

    def default(self, obj: Json) -> None:
        """Fill in the defaults of pkg/apis/admissionregistration/v1/defaults.go."""
        for webhook in obj.get("webhooks") or []:
            webhook.setdefault("failurePolicy", "Fail")
            webhook.setdefault("matchPolicy", "Equivalent")
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
            webhook.setdefault("timeoutSeconds", 10)
            if self._mutating:
                webhook.setdefault("reinvocationPolicy", "Never")
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None:
                service.setdefault("port", 443)
            for rule in webhook.get("rules") or []:
                rule.setdefault("scope", "*")

    def validate(self, obj: Json, found: Causes) -> None:
        """Check each webhook."""
        seen: set[str] = set()
        for index, webhook in enumerate(obj.get("webhooks") or []):
            field = f"webhooks[{index}]"
            _check_webhook(webhook, field, found)
            if self._mutating:
                found.one_of(webhook, "reinvocationPolicy", field, ("IfNeeded", "Never"))
            if webhook.get("name", "") in seen:
                found.duplicate(f"{field}.name", webhook.get("name", ""))
            seen.add(webhook.get("name", ""))


def _check_webhook(webhook: Json, field: str, found: Causes) -> None:
    name = webhook.get("name", "")
    if not name:
        found.required(f"{field}.name")
    elif names.subdomain(name) or name.count(".") < 2:
        problems = names.subdomain(name) or [
            "should be a domain with at least three segments separated by dots"
        ]
        found.problems(f"{field}.name", name, problems)
    versions = webhook.get("admissionReviewVersions") or []
    if not versions:
        text = "must specify one of v1, v1beta1"
        found.required(f"{field}.admissionReviewVersions", text)
    elif not {"v1", "v1beta1"} & set(versions):
        text = "must include at least one of v1, v1beta1"
        found.invalid(f"{field}.admissionReviewVersions", versions, text)
    for number, rule in enumerate(webhook.get("rules") or []):
        _check_rule(rule, f"{field}.rules[{number}]", found)
    found.one_of(webhook, "failurePolicy", field, ("Fail", "Ignore"))
    found.one_of(webhook, "matchPolicy", field, ("Equivalent", "Exact"))
    if webhook.get("sideEffects") is None:
        found.required(f"{field}.sideEffects", "must specify one of None, NoneOnDryRun")
    found.one_of(webhook, "sideEffects", field, _SIDE_EFFECTS)
    seconds = webhook["timeoutSeconds"]
    if not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        found.invalid(f"{field}.timeoutSeconds", seconds, text)
    found.selector(f"{field}.namespaceSelector", webhook["namespaceSelector"])
    check_client(webhook.get("clientConfig") or {}, f"{field}.clientConfig", found)
    for number, condition in enumerate(webhook.get("matchConditions") or []):
        _check_condition(condition, f"{field}.matchConditions[{number}]", found)


def _check_rule(rule: Json, field: str, found: Causes) -> None:
    for key in ("operations", "apiGroups", "apiVersions", "resources"):
        values = rule.get(key) or []
        if not values:
            found.required(f"{field}.{key}")
        if len(values) > 1 and "*" in values:
            what = {"apiGroups": "groups", "apiVersions": "versions"}.get(key, key)
            text = f"if '*' is present, must not specify other {what}"
            found.invalid(f"{field}.{key}", values, text)
    for index, operation in enumerate(rule.get("operations") or []):
        if operation not in _OPERATIONS:
            found.unsupported(f"{field}.operations[{index}]", operation, _OPERATIONS)
    found.one_of(rule, "scope", field, ("*", "Cluster", "Namespaced"))


def check_client(client: Json, field: str, found: Causes) -> None:
    """Check a webhook's `clientConfig`."""
    url, service = client.get("url"), client.get("service")
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


def _check_condition(condition: Json, field: str, found: Causes) -> None:
    if not condition.get("name"):
        found.required(f"{field}.name")
    expression = condition.get("expression", "")
    if not expression.strip():
        found.required(f"{field}.expression")
        return
    problem = cel.problem(expression, cel.ADMISSION)
    if problem:
        found.invalid(f"{field}.expression", expression, f"compilation failed: {problem}")

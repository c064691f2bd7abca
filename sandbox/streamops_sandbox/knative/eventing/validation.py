"""Validation of Eventing's kinds: what its validating webhook refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from streamops_sandbox.knative.delivery import seconds
from streamops_sandbox.knative.eventing.names import BROKER_CLASS
from streamops_sandbox.knative.fielderrors import Denied, FieldErrors
from streamops_sandbox.knative.filters import problem
from streamops_sandbox.objects import Object

_FEATURE_VALUES = ("enabled", "disabled", "allowed", "strict", "permissive")
_ATTRIBUTE = re.compile(r"[a-z0-9]+")


def validate(request: Object, obj: Object) -> None:
    """Check an object of Eventing's.

    Raises:
        Denied: with everything that is wrong with it.
    """
    kind, errors = request["kind"]["kind"], FieldErrors()
    check = _CHECKS.get(kind)
    if check is not None:
        check(errors, obj)
        if request["operation"] == "UPDATE":
            _immutable(errors, kind, obj, request.get("oldObject") or {})
    errors.refuse()


def validate_config(_: Object, config: Object) -> None:
    """Check the flags of one of Eventing's ConfigMaps.

    Raises:
        Denied: a value cannot be used.
    """
    if config["metadata"]["name"] == "config-features":
        for key, value in (config.get("data") or {}).items():
            free = key == "_example" or "default-authorization-mode" in key
            if not free and value.lower() not in _FEATURE_VALUES:
                raise Denied(f"validation failed: invalid feature flag value {value!r} for {key}")


def _broker(errors: FieldErrors, obj: Object) -> None:
    if not obj["spec"].get("config"):
        errors.missing("spec.config")
    else:
        _reference(errors, obj["spec"]["config"], "spec.config")
    _delivery(errors, obj["spec"].get("delivery"), "spec.delivery")


def _trigger(errors: FieldErrors, obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("broker") and not spec.get("brokerRef"):
        errors.missing("spec.broker")
    for index, item in enumerate(spec.get("filters") or []):
        if wrong := problem(item):
            errors.add(wrong, f"spec.filters[{index}]")
    _destination(errors, spec.get("subscriber"), "spec.subscriber")
    _delivery(errors, spec.get("delivery"), "spec.delivery")


def _sink_binding(errors: FieldErrors, obj: Object) -> None:
    subject = obj["spec"].get("subject") or {}
    for name in ("apiVersion", "kind"):
        if not subject.get(name):
            errors.missing(f"spec.subject.{name}")
    errors.exactly_one(subject, "spec.subject", "name", "selector")
    namespace = obj["metadata"].get("namespace")
    if subject.get("namespace") not in (None, "", namespace):
        errors.invalid(subject["namespace"], "spec.subject.namespace")
    _source(errors, obj)


def _source(errors: FieldErrors, obj: Object) -> None:
    _destination(errors, obj["spec"].get("sink"), "spec.sink")
    overrides = (obj["spec"].get("ceOverrides") or {}).get("extensions") or {}
    for name in overrides:
        if not _ATTRIBUTE.fullmatch(name):
            path = "spec.ceOverrides.extensions"
            details = "keys are expected to be alphanumeric" if name else "keys MUST NOT be empty"
            errors.add(f'invalid key name "{name}"', path, details=details)
            break


def _destination(errors: FieldErrors, destination: Object | None, path: str) -> None:
    """Check a destination in the order of knative.dev/pkg: the first problem is the only one."""
    given = destination or {}
    ref, uri = given.get("ref"), given.get("uri")
    parts = urlsplit(uri or "")
    if not ref and not uri:
        errors.add("expected at least one, got none", f"{path}.ref", f"{path}.uri")
    elif ref and parts.scheme:
        errors.add(
            "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present",
            *(f"{path}.{name}" for name in ("[apiVersion, kind, name]", "ref", "uri")),
        )
    elif not ref and not (parts.scheme and parts.netloc):
        errors.invalid(
            "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent",
            f"{path}.uri",
        )
    elif ref and not uri:
        _reference(errors, ref, f"{path}.ref")
    elif given.get("CACerts") is not None and not _is_certificate(given["CACerts"]):
        errors.invalid("CA Cert provided is invalid", f"{path}.caCert")


def _is_certificate(pem: str) -> bool:
    try:
        x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return False
    return True


def _reference(errors: FieldErrors, ref: Object, path: str) -> None:
    for name in ("name", "kind"):
        if not ref.get(name):
            errors.missing(f"{path}.{name}")
    if not ref.get("apiVersion") and not ref.get("group"):
        errors.missing(f"{path}.apiVersion")


def _delivery(errors: FieldErrors, delivery: Object | None, path: str) -> None:
    """Check a `delivery`: dead letter sink, retries, back-off and durations."""
    delivery = delivery or {}
    if delivery.get("deadLetterSink"):
        _destination(errors, delivery["deadLetterSink"], f"{path}.deadLetterSink")
    if delivery.get("retry", 0) < 0:
        errors.invalid(delivery["retry"], f"{path}.retry")
    if delivery.get("backoffPolicy") not in (None, "linear", "exponential"):
        errors.invalid(delivery["backoffPolicy"], f"{path}.backoffPolicy")
    for name in ("backoffDelay", "timeout", "retryAfterMax"):
        value = delivery.get(name)
        try:
            seconds(value or "PT0S")
        except ValueError:
            errors.invalid(value, f"{path}.{name}")


def _immutable(errors: FieldErrors, kind: str, obj: Object, old: Object) -> None:
    """Complain about changes of what cannot change."""
    for path in _IMMUTABLE.get(kind, ()):
        before, after = (_look_up(item, path) for item in (old, obj))
        if before is not None and before != after:
            details = f"-: {before!r}\n+: {after!r}"
            errors.add("Immutable fields changed (-old +new)", ".".join(path), details=details)


def _look_up(obj: Object, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for name in path:
        value = (value or {}).get(name)
    return value


_IMMUTABLE = {
    "Broker": (("metadata", "annotations", BROKER_CLASS), ("spec", "config")),
    "Trigger": (("spec", "broker"),),
}

_CHECKS: dict[str, Callable[[FieldErrors, Object], None]] = {
    "Broker": _broker,
    "Trigger": _trigger,
    "SinkBinding": _sink_binding,
    "ContainerSource": _source,
}

"""Namespaces, ConfigMaps, Secrets, ServiceAccounts, limits, quotas and other small core kinds."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import clock
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.pod_validation import CONFIG_KEY_RULE
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quantity import parse

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_NAME_LABEL = "kubernetes.io/metadata.name"
_MAX_DATA = 1024 * 1024
_EVENT_SECONDS = 3600
_SWEEP_SECONDS = 60
_IMMUTABLE = "field is immutable when `immutable` is set"
_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


class Namespaces(Strategy):
    """A namespace is Active until deleted, then Terminating until it is empty."""

    def default(self, obj: Json) -> None:
        """Label it with its name, so that selectors can name it."""
        metadata = obj["metadata"]
        if metadata.get("name"):
            metadata.setdefault("labels", {})[_NAME_LABEL] = metadata["name"]

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Guard the content by the finalizer `kubernetes`."""
        self.default(obj)
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Keep the finalizers, which only the finalize subresource changes."""
        obj["spec"] = old.get("spec") or {}

    def validate(self, obj: Json, found: Causes) -> None:
        """Accept whatever the schema allows."""


class ConfigMaps(Strategy):
    """Bounded in size; unchangeable where it says so."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check keys and size; a key is in one of the two maps only."""
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        for field, values, other in (("data", data, binary), ("binaryData", binary, data)):
            for key in values:
                _check_key(field, key, found)
                if key in other:
                    other_field = "binaryData" if field == "data" else "data"
                    why = f"duplicate of key present in {other_field}"
                    found.invalid(f"{field}[{key}]", key, why)
        _check_size({**data, **binary}, "", found)

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse changes of an immutable object."""
        _check_immutable(obj, old, ("data", "binaryData"), found)


def _check_immutable(obj: Json, old: Json, fields: tuple[str, ...], found: Causes) -> None:
    if old.get("immutable"):
        if not obj.get("immutable"):
            found.forbidden("immutable", _IMMUTABLE)
        for key in fields:
            if obj.get(key) != old.get(key):
                found.forbidden(key, _IMMUTABLE)


def _check_key(field: str, key: str, found: Causes) -> None:
    if len(key) > 253:
        found.invalid(f"{field}[{key}]", key, "must be no more than 253 characters")
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
        found.invalid(f"{field}[{key}]", key, CONFIG_KEY_RULE)
    elif key in (".", "..") or key.startswith(".."):
        found.invalid(
            f"{field}[{key}]", key, "must not be '.'" if key == "." else "must not start with '..'"
        )


def _check_size(data: Json, field: str, found: Causes) -> None:
    if sum(len(key) + len(value) for key, value in data.items()) > _MAX_DATA:
        found.too_long(field, _MAX_DATA)


class Secrets(Strategy):
    """Typed bytes; `stringData` is a way to write `data`."""

    def default(self, obj: Json) -> None:
        """Encode stringData; the type is Opaque."""
        text = obj.pop("stringData", None)
        if text:
            data = obj.setdefault("data", {})
            for key, value in text.items():
                data[key] = base64.b64encode(value.encode()).decode()
        if not obj.get("type"):
            obj["type"] = "Opaque"

    def validate(self, obj: Json, found: Causes) -> None:
        """Check keys and size; typed secrets hold their keys."""
        data = obj.get("data") or {}
        for key in data:
            _check_key("data", key, found)
        _check_size(data, "data", found)
        kind = obj["type"]
        for key in _SECRET_KEYS.get(kind, ()):
            if key not in data:
                found.required(f"data[{key}]")
        if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
            found.required("data[username]")
            found.required("data[password]")
        account = "kubernetes.io/service-account.name"
        annotations = obj["metadata"].get("annotations") or {}
        if kind == "kubernetes.io/service-account-token" and not annotations.get(account):
            found.required(f"metadata.annotations[{account}]")

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse another type, and changes of an immutable object."""
        found.immutable(obj, old, "", "type")
        _check_immutable(obj, old, ("data",), found)

    def warnings(self, obj: Json) -> list[str]:
        """Warn of certificates without a PEM block."""
        if obj["type"] == "kubernetes.io/tls":
            for key, what in (("tls.crt", "certificate"), ("tls.key", "key")):
                if b"-----BEGIN" not in base64.b64decode((obj.get("data") or {}).get(key, "")):
                    return [f"tls: failed to find any PEM data in {what} input"]
        return []


class ReturnedWhenDeleted(Strategy):
    """A kind of which only the answer to a deletion is special."""

    returns_deleted = True


class LimitRanges(Strategy):
    """Bounds and defaults for a namespace's pods; enforced by admission."""

    def default(self, obj: Json) -> None:
        """Default requests and limits of containers follow from each other and the bounds."""
        for item in (obj.get("spec") or {}).get("limits") or []:
            if item.get("type") == "Container":
                default = {**(item.get("max") or {}), **(item.get("default") or {})}
                request = {
                    **(item.get("min") or {}),
                    **default,
                    **(item.get("defaultRequest") or {}),
                }
                for key, value in (("default", default), ("defaultRequest", request)):
                    if value:
                        item[key] = value

    def validate(self, obj: Json, found: Causes) -> None:
        """Check that the bounds and the defaults of each resource fit."""
        for index, item in enumerate((obj.get("spec") or {}).get("limits") or []):
            path = f"spec.limits[{index}]"
            if item.get("type") == "Pod":
                for key in ("default", "defaultRequest"):
                    if item.get(key):
                        found.forbidden(
                            f"{path}.{key}", "may not be specified when `type` is 'Pod'"
                        )
            keys = ("min", "max", "default", "defaultRequest")
            for name in sorted({name for key in keys for name in item.get(key) or {}}):
                low, high, limit, request = ((item.get(key) or {}).get(name) for key in keys)
                for field, shown, less, more, text in (
                    ("min", low, low, high, "min value {} is greater than max value {}"),
                    (
                        "defaultRequest",
                        request,
                        low,
                        request,
                        "min value {} is greater than default request value {}",
                    ),
                    (
                        "defaultRequest",
                        request,
                        request,
                        high,
                        "default request value {} is greater than max value {}",
                    ),
                    (
                        "defaultRequest",
                        request,
                        request,
                        limit,
                        "default request value {} is greater than default limit value {}",
                    ),
                    ("default", low, low, limit, "min value {} is greater than default value {}"),
                    ("default", high, limit, high, "default value {} is greater than max value {}"),
                ):
                    if less and more and parse(less) > parse(more):
                        found.invalid(f"{path}.{field}[{name}]", shown, text.format(less, more))


class ResourceQuotas(ReturnedWhenDeleted):
    """Sums a namespace may not exceed; enforced by admission."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the amounts."""
        for name, amount in ((obj.get("spec") or {}).get("hard") or {}).items():
            if parse(amount) < 0:
                text = "must be greater than or equal to 0"
                found.invalid(f"spec.hard[{name}]", amount, text)
            elif "." not in name and name not in ("cpu", "memory", "storage") and parse(amount) % 1:
                found.invalid(f"spec.hard[{name}]", amount, "must be an integer")

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """Count what the namespace uses."""
        api.quotas.refresh(obj["metadata"]["namespace"])


class Endpoints(Strategy):
    """Addresses behind a Service, the old way."""

    def default(self, obj: Json) -> None:
        """Default the ports' protocol."""
        for subset in obj.get("subsets") or []:
            for port in subset.get("ports") or []:
                port.setdefault("protocol", "TCP")


class Events(Strategy):
    """What happened; forgotten after an hour, as the API server's `--event-ttl`."""

    def __init__(self) -> None:
        self._swept = ""

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """Drop what is too old; looked for at most once a minute, when there is something new."""
        if self._swept > clock.after(-_SWEEP_SECONDS):
            return
        self._swept = clock.now()
        limit = clock.after(-_EVENT_SECONDS)
        for stored in list(api.store.collection("events").items()):
            event = stored.load()
            last = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp", "")
            if last < limit:
                api.store.remove("events", stored.namespace, stored.name)

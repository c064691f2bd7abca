"""Namespaces, ConfigMaps, Secrets, ServiceAccounts and other small core kinds."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import clock, errors
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_NAME_LABEL = "kubernetes.io/metadata.name"
_MAX_DATA = 1024 * 1024
_EVENT_SECONDS = 3600
_SWEEP_SECONDS = 60


def _immutable(field: str) -> Json:
    return errors.cause(
        "FieldValueForbidden", field, "Forbidden: field is immutable when `immutable` is set"
    )


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
        """Only the finalize subresource changes finalizers."""
        obj["spec"] = old.get("spec") or {}


class ConfigMaps(Strategy):
    """Bounded in size; unchangeable where it says so."""

    def validate(self, obj: Json) -> list[Json]:
        """At most 1 MiB; a key is in one of the two maps only."""
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        found = _too_long(data, "") + _key_causes([*data, *binary])
        for key in data.keys() & binary.keys():
            found.append(
                errors.cause(
                    "FieldValueInvalid",
                    f"data[{key}]",
                    f'Invalid value: "{key}": duplicate of key present in binaryData',
                )
            )
        return found

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """`immutable: true` cannot be taken back."""
        if not old.get("immutable"):
            return []
        found = [] if obj.get("immutable") else [_immutable("immutable")]
        return found + [_immutable(k) for k in ("data", "binaryData") if obj.get(k) != old.get(k)]


class Secrets(Strategy):
    """`stringData` is a way to write `data`; the type cannot change."""

    def default(self, obj: Json) -> None:
        """Encode stringData; the type is Opaque."""
        text = obj.pop("stringData", None)
        if text:
            data = obj.setdefault("data", {})
            for key, value in text.items():
                data[key] = base64.b64encode(value.encode()).decode()
        if not obj.get("type"):
            obj["type"] = "Opaque"

    def validate(self, obj: Json) -> list[Json]:
        """At most 1 MiB; typed secrets hold their keys."""
        data = obj.get("data") or {}
        found = _too_long(data, "data") + _key_causes(list(data))
        for key in _SECRET_KEYS.get(obj.get("type", ""), ()):
            if key not in data:
                found.append(errors.cause("FieldValueRequired", f"data[{key}]", "Required value"))
        return found

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """The type is fixed; `immutable: true` cannot be taken back."""
        found = []
        if obj.get("type") != old.get("type"):
            found.append(
                errors.cause(
                    "FieldValueInvalid",
                    "type",
                    f'Invalid value: "{obj.get("type")}": field is immutable',
                )
            )
        if old.get("immutable"):
            if not obj.get("immutable"):
                found.append(_immutable("immutable"))
            if obj.get("data") != old.get("data"):
                found.append(_immutable("data"))
        return found


_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _too_long(data: Json, field: str) -> list[Json]:
    if sum(len(key) + len(value) for key, value in data.items()) <= _MAX_DATA:
        return []
    return [
        errors.cause(
            "FieldValueTooLong", field, f"Too long: may not be more than {_MAX_DATA} bytes"
        )
    ]


def _key_causes(keys: list[str]) -> list[Json]:
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
    return [
        errors.cause(
            "FieldValueInvalid",
            f"data[{key}]",
            f'Invalid value: "{key}": a valid config key must consist of alphanumeric characters, '
            "'-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
            "validation is '[-._a-zA-Z0-9]+')",
        )
        for key in keys
        if not key or set(key) - allowed or len(key) > 253
    ]


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
        collection = api.store.collection("events")
        for stored in list(collection.items()):
            event = stored.load()
            last = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp", "")
            if last < limit:
                api.store.remove("events", stored.namespace, stored.name)

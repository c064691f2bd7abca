"""Namespaces, ConfigMaps, Secrets, ServiceAccounts, limits, quotas and other small core kinds."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from streamops_sandbox import timestamps
from streamops_sandbox.kube import codec, names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import filler, function
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quantity import parse
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_NAME_LABEL = "kubernetes.io/metadata.name"
_EMPTIED = "kubernetes"
_MAX_DATA = 1024 * 1024
_EVENT_SECONDS = 3600
_SWEEP_SECONDS = 60
_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


class Namespaces(Strategy):
    """A namespace is Active until deleted, then Terminating until it is empty."""

    def default(self, obj: Object) -> None:
        """Label it with its name, so that selectors can name it."""
        metadata = obj["metadata"]
        if metadata.get("name"):
            metadata.setdefault("labels", {})[_NAME_LABEL] = metadata["name"]

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Guard the content by the finalizer `kubernetes`."""
        self.default(obj)
        given = [one for one in (obj.get("spec") or {}).get("finalizers") or [] if one != _EMPTIED]
        obj["spec"] = {"finalizers": [*given, _EMPTIED]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Keep the finalizers, which only the finalize subresource changes."""
        obj["spec"] = old.get("spec") or {}


@function
def config_keys(_: Any, __: str, found: Causes, obj: Object) -> None:
    """Check a ConfigMap's keys and size; a key is in one of the two maps only."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for field, values in (("data", data), ("binaryData", binary)):
        for key in values:
            found.problems(f"{field}[{key}]", key, names.config_key(key))
            if field == "data" and key in binary:
                found.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    _check_size({**data, **binary}, "", found)


def _check_size(data: Object, field: str, found: Causes) -> None:
    if sum(len(key) + len(value) for key, value in data.items()) > _MAX_DATA:
        found.too_long(field, _MAX_DATA)


@filler
def encode_strings(obj: Object) -> None:
    """Encode a Secret's `stringData`, which is a way to write `data`."""
    text = obj.pop("stringData", None)
    if text:
        data = obj.setdefault("data", {})
        for key, value in text.items():
            data[key] = base64.b64encode(value.encode()).decode()


@function
def secret(_: Any, __: str, found: Causes, obj: Object) -> None:
    """Check a Secret's keys and size; typed ones hold their keys."""
    data = obj.get("data") or {}
    for key in data:
        found.problems(f"data[{key}]", key, names.config_key(key))
    _check_size(data, "data", found)
    kind = obj["type"]
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data:
            found.required(f"data[{key}]")
        elif "docker" in kind:
            try:
                codec.loads(base64.b64decode(data[key]))
            except codec.ParseError as error:
                found.invalid(f"data[{key}]", "<secret contents redacted>", str(error))
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        found.required("data[username]")
        found.required("data[password]")
    account = "kubernetes.io/service-account.name"
    annotations = obj["metadata"].get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(account):
        found.required(f"metadata.annotations[{account}]")


class Secrets(Strategy):
    """Typed bytes."""

    def warnings(self, obj: Object) -> list[str]:
        """Warn of certificates without a PEM block."""
        if obj["type"] == "kubernetes.io/tls":
            for key, what in (("tls.crt", "certificate"), ("tls.key", "key")):
                if b"-----BEGIN" not in base64.b64decode((obj.get("data") or {}).get(key, "")):
                    return [f"tls: failed to find any PEM data in {what} input"]
        return []


@filler
def complete_limit(item: Object) -> None:
    """Fill in the defaults of containers' requests and limits, which follow from each other and the bounds."""
    if item.get("type") == "Container":
        low, high, limit, request = (item.get(key) or {} for key in _BOUNDS)
        limit = {**high, **limit}
        for key, value in (("default", limit), ("defaultRequest", {**low, **limit, **request})):
            if value:
                item[key] = value


@function
def limits(item: Object, path: str, found: Causes, _: Object) -> None:
    """Check that the bounds and the defaults of each resource fit."""
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        if parse(ratio) < 1:
            place = f"{path}.maxLimitRequestRatio[{name}]"
            found.invalid(place, ratio, f"ratio {ratio} is less than 1")
    for name in sorted({name for key in _BOUNDS for name in item.get(key) or {}}):
        for field, less, more in _LIMIT_ORDER:
            low, high = ((item.get(key) or {}).get(name) for key in (less, more))
            if low and high and parse(low) > parse(high):
                titles = {**_TITLES, "default": "default limit"} if field in _TITLES else {}
                lower, upper = (titles.get(key, key) for key in (less, more))
                why = f"{lower} value {low} is greater than {upper} value {high}"
                shown = {"default": low if more == "default" else high}.get(
                    field, item[field][name]
                )
                found.invalid(f"{path}.{field}[{name}]", shown, why)


_BOUNDS = ("min", "max", "default", "defaultRequest")
_TITLES = {"defaultRequest": "default request"}
#: (field that is wrong, field that is less, field that is more)
_LIMIT_ORDER = (
    ("min", "min", "max"), ("defaultRequest", "min", "defaultRequest"),
    ("defaultRequest", "defaultRequest", "max"), ("defaultRequest", "defaultRequest", "default"),
    ("default", "min", "default"), ("default", "default", "max"),
)  # fmt: skip


@function
def quota(spec: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check a quota's amounts and scopes."""
    hard, scopes = ((spec or {}).get(key) or {} for key in ("hard", "scopes"))
    for name, amount in hard.items():
        place = f"{field}.hard[{name}]"
        if "/" not in name and name not in (*_COMPUTED, *_COUNTED):
            found.invalid(place, name, "must be a standard resource type or fully qualified")
            found.invalid(place, name, "must be a standard resource for quota")
        if parse(amount) < 0:
            found.invalid(place, amount, "must be greater than or equal to 0")
        if name in _COUNTED and parse(amount) % 1:
            found.invalid(place, amount, "must be an integer")
    place = f"{field}.scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            found.invalid(place, scopes, "unsupported scope")
        for name in sorted(hard):
            allowed = ("pods",) if scope == "BestEffort" else ("pods", *_COMPUTED)
            if name in (*_COMPUTED, *_COUNTED) and name not in allowed:
                found.invalid(place, scopes, "unsupported scope applied to resource")
    for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}):
        if pair <= set(scopes):
            found.invalid(place, scopes, "conflicting scopes")


_COMPUTED = (
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
)  # fmt: skip
_COUNTED = (
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
)  # fmt: skip
_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
    "Terminating", "VolumeAttributesClass",
)  # fmt: skip


class ResourceQuotas(Strategy):
    """Sums a namespace may not exceed; enforced by admission."""

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """Count what the namespace uses."""
        api.quotas.refresh(obj["metadata"]["namespace"])


class Events(Strategy):
    """What happened; forgotten after an hour, as the API server's `--event-ttl`."""

    _swept = ""

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """Drop what is too old; looked for at most once a minute, when there is something new."""
        if self._swept > timestamps.after(-_SWEEP_SECONDS):
            return
        self._swept = timestamps.now()
        limit = timestamps.after(-_EVENT_SECONDS)
        for stored in list(api.store.collection("events").items()):
            event = stored.load()
            last = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp", "")
            if last < limit:
                api.store.remove("events", stored.namespace, stored.name)

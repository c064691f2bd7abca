"""The environment of a container, put together from its spec.

Contract: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ and the
expansion of `$(NAME)` references, where `$$(NAME)` stands for the text `$(NAME)`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

from streamops_sandbox.node.fields import pod_field
from streamops_sandbox.objects import Object

#: (kind "ConfigMap" or "Secret", name) -> the object in the pod's namespace, or None.
Lookup = Callable[[str, str], Object | None]

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(Exception):
    """A container or volume cannot be made from its spec (yet); the message is the kubelet's."""


def container_env(
    pod: Object, container: Object, lookup: Lookup, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment: `base`, then `envFrom`, then `env`, later ones winning.

    Raises ConfigError where something that is not optional is missing.
    """
    env = dict(base)
    for source in container.get("envFrom") or []:
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(field):
                for key, value in source_data(kind, reference["name"], reference, lookup).items():
                    if _NAME.fullmatch(name := source.get("prefix", "") + key):
                        env[name] = _text(value)
    for variable in container.get("env") or []:
        name = variable["name"]
        if "valueFrom" in variable:
            value_from = _value_from(pod, variable["valueFrom"], lookup)
            if value_from is not None:
                env[name] = value_from
        else:
            env[name] = expand(variable.get("value") or "", env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value; unknown references stay as they are."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def source_data(kind: str, name: str, source: Object, lookup: Lookup) -> dict[str, bytes]:
    """Return the content of the ConfigMap or Secret of a source; {} for one that may be missing."""
    obj = lookup(kind, name)
    if obj is not None:
        return data_of(obj)
    if source.get("optional"):
        return {}
    raise ConfigError(f'{kind.lower()} "{name}" not found')


def data_of(obj: Object) -> dict[str, bytes]:
    """Return the content of a ConfigMap or Secret as bytes."""
    text, coded = obj.get("data") or {}, obj.get("binaryData") or {}
    if obj["kind"] == "Secret":
        text, coded = {}, text
    decoded = {key: base64.b64decode(value) for key, value in coded.items()}
    return {key: value.encode() for key, value in text.items()} | decoded


def _value_from(pod: Object, source: Object, lookup: Lookup) -> str | None:
    if reference := source.get("fieldRef"):
        try:
            return pod_field(pod, reference["fieldPath"])
        except KeyError as error:
            raise ConfigError(f"unsupported fieldPath: {error.args[0]}") from None
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(field):
            name, key = reference["name"], reference["key"]
            data = source_data(kind, name, reference, lookup)
            if key in data:
                return _text(data[key])
            if reference.get("optional"):
                return None
            place = f"{kind} {pod['metadata']['namespace']}/{name}"
            raise ConfigError(f"couldn't find key {key} in {place}")
    raise ConfigError(f"valueFrom: {', '.join(source)} is not supported by this node")


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")

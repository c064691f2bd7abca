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
    """The container cannot be made from its spec; the message is the kubelet's."""


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
                prefix = source.get("prefix", "")
                for key, value in _all_keys(kind, reference, lookup).items():
                    if _NAME.fullmatch(prefix + key):
                        env[prefix + key] = value
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


def data_of(obj: Object) -> dict[str, bytes]:
    """Return the content of a ConfigMap or Secret as bytes."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    data = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    for key, value in (obj.get("binaryData") or {}).items():
        data[key] = base64.b64decode(value)
    return data


def _value_from(pod: Object, source: Object, lookup: Lookup) -> str | None:
    if reference := source.get("fieldRef"):
        try:
            return pod_field(pod, reference["fieldPath"])
        except KeyError as error:
            raise ConfigError(f"unsupported fieldPath: {error.args[0]}") from None
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(field):
            return _one_key(pod, kind, reference, lookup)
    raise ConfigError(f"valueFrom: {', '.join(source)} is not supported by this node")


def _one_key(pod: Object, kind: str, reference: Object, lookup: Lookup) -> str | None:
    name, key = reference.get("name", ""), reference["key"]
    obj = lookup(kind, name)
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = data_of(obj)
    if key not in data:
        if reference.get("optional"):
            return None
        raise ConfigError(
            f"couldn't find key {key} in {kind} {pod['metadata']['namespace']}/{name}"
        )
    return data[key].decode(errors="surrogateescape")


def _all_keys(kind: str, reference: Object, lookup: Lookup) -> dict[str, str]:
    name = reference.get("name", "")
    obj = lookup(kind, name)
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    return {key: value.decode(errors="surrogateescape") for key, value in data_of(obj).items()}

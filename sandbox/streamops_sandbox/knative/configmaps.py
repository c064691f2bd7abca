"""The settings that releases keep in ConfigMaps, and the guard of their `_example`."""

from __future__ import annotations

import re
import zlib
from typing import Any

import yaml

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.fielderrors import Denied

_CHECKSUM = "knative.dev/example-checksum"
_EDITED = (
    'the update modifies a key in "_example" which is probably not what you want.'
    " Instead, copy the respective setting to the top-level of the ConfigMap,"
    ' directly below "data"'
)


def check_example(config: dict[str, Any]) -> None:
    """Refuse a ConfigMap whose `_example` no longer has the checksum of its annotation.

    The checksum is the CRC32 of the text with line breaks as a literal `\\n`. Raises Denied.
    """
    wanted = (config["metadata"].get("annotations") or {}).get(_CHECKSUM)
    example = (config.get("data") or {}).get("_example")
    if wanted is not None and example is not None:
        text = re.sub(r"(\r?\n)+", r"\\n", example.strip())
        if f"{zlib.crc32(text.encode()):08x}" != wanted:
            raise Denied(f"validation failed: {_EDITED}")


def data(config: Informer, name: str) -> dict[str, str]:
    """Return a ConfigMap's data without its `_example`; empty where it is not there."""
    found = next((item for item in config.list() if item["metadata"]["name"] == name), None)
    values = (found or {}).get("data") or {}
    return {key: value for key, value in values.items() if key != "_example"}


def feature(config: Informer, name: str) -> bool:
    """Tell whether a flag of `config-features` is enabled."""
    return data(config, "config-features").get(name, "").lower() == "enabled"


def defaults(config: Informer, name: str, key: str, namespace: str) -> dict[str, Any]:
    """Return the entry for a namespace from YAML with `clusterDefault` and `namespaceDefaults`."""
    document = yaml.safe_load(data(config, name).get(key, "")) or {}
    for_namespace = (document.get("namespaceDefaults") or {}).get(namespace)
    return {**(document.get("clusterDefault") or {}), **(for_namespace or {})}

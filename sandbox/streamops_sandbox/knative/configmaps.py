"""The settings that releases keep in ConfigMaps."""

from __future__ import annotations

from typing import Any

import yaml

from streamops_sandbox.informer import Informer


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

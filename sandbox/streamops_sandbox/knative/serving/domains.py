"""Which host names a Route answers to (config-domain, config-network)."""

from __future__ import annotations

import re
from typing import Any

import yaml

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.serving import names

_CLUSTER = "cluster.local"
_LOCAL = f"svc.{_CLUSTER}"
_DEFAULT_TEMPLATE = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
_DEFAULT_TAG_TEMPLATE = "{{.Tag}}-{{.Name}}"
_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


class BadTemplate(ValueError):
    """A name template that uses more of Go's template language than variables."""


class Domains:
    """Names hosts by the settings in Serving's ConfigMaps."""

    def __init__(self, config: Informer) -> None:
        self._config = config

    def domain(self, labels: dict[str, str] | None) -> str:
        """Return the domain of a Route: the entry of config-domain with the best selector."""
        best, weight = _LOCAL, -1
        for domain, text in sorted(configmaps.data(self._config, "config-domain").items()):
            selector = (yaml.safe_load(text) or {}).get("selector") or {} if text else {}
            matching = all((labels or {}).get(k) == v for k, v in selector.items())
            if matching and len(selector) > weight:
                best, weight = domain, len(selector)
        return best

    def is_local(self, route: dict[str, Any]) -> bool:
        """Tell whether a Route is reachable from inside the cluster only."""
        labels = route["metadata"].get("labels") or {}
        return labels.get(names.VISIBILITY) == "cluster-local" or self.domain(labels) == _LOCAL

    def external(self, route: dict[str, Any], tag: str = "") -> str:
        """Return the public host of a Route or of one of its tags.

        Raises:
            BadTemplate: the template cannot be filled in.
        """
        metadata = route["metadata"]
        settings = configmaps.data(self._config, "config-network")
        name = metadata["name"]
        if tag:
            template = settings.get("tag-template", _DEFAULT_TAG_TEMPLATE)
            name = _fill(template, {"Name": name, "Tag": tag})
        values = {
            "Name": name,
            "Namespace": metadata["namespace"],
            "Domain": self.domain(metadata.get("labels")),
            "Tag": tag,
        }
        return _fill(settings.get("domain-template", _DEFAULT_TEMPLATE), values)

    @staticmethod
    def local(route: dict[str, Any], tag: str = "") -> list[str]:
        """Return the names a Route has inside the cluster, the full one last."""
        metadata = route["metadata"]
        name = f"{tag}-{metadata['name']}" if tag else metadata["name"]
        base = f"{name}.{metadata['namespace']}"
        return [base, f"{base}.svc", f"{base}.svc.{_CLUSTER}"]


def _fill(template: str, values: dict[str, str]) -> str:
    filled = _VARIABLE.sub(lambda found: values.get(found[1], found[0]), template)
    if "{{" in filled:
        raise BadTemplate(f"name template {template!r}: only variables are understood")
    return filled

"""Which host names a Service answers to (config-domain, config-network)."""

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
_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


class BadTemplate(ValueError):
    """A name template that uses more of Go's template language than variables."""


class Domains:
    """Names hosts by the settings in Serving's ConfigMaps."""

    def __init__(self, config: Informer) -> None:
        self._config = config

    def domain(self, labels: dict[str, str] | None) -> str:
        """Return the domain of a Service: the entry of config-domain with the best selector."""
        best, weight = _LOCAL, -1
        for domain, text in sorted(configmaps.data(self._config, "config-domain").items()):
            selector = (yaml.safe_load(text) or {}).get("selector") or {} if text else {}
            matching = all((labels or {}).get(k) == v for k, v in selector.items())
            if matching and len(selector) > weight:
                best, weight = domain, len(selector)
        return best

    def is_local(self, service: dict[str, Any]) -> bool:
        """Tell whether a Service is reachable from inside the cluster only."""
        labels = service["metadata"].get("labels") or {}
        return labels.get(names.VISIBILITY) == "cluster-local" or self.domain(labels) == _LOCAL

    def external(self, service: dict[str, Any]) -> str:
        """Return the public host of a Service.

        Raises:
            BadTemplate: the template cannot be filled in.
        """
        metadata = service["metadata"]
        settings = configmaps.data(self._config, "config-network")
        values = {
            "Name": metadata["name"],
            "Namespace": metadata["namespace"],
            "Domain": self.domain(metadata.get("labels")),
        }
        return _fill(settings.get("domain-template", _DEFAULT_TEMPLATE), values)

    @staticmethod
    def local(service: dict[str, Any]) -> list[str]:
        """Return the names a Service has inside the cluster, the full one last."""
        base = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
        return [base, f"{base}.svc", f"{base}.svc.{_CLUSTER}"]


def _fill(template: str, values: dict[str, str]) -> str:
    filled = _VARIABLE.sub(lambda found: values.get(found[1], found[0]), template)
    if "{{" in filled:
        raise BadTemplate(f"name template {template!r}: only variables are understood")
    return filled

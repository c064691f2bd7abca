"""Which kind has which strategy."""

from __future__ import annotations

from sandbox.kube.crds import CustomResourceDefinitions
from sandbox.kube.kinds import core, services
from sandbox.kube.kinds.strategy import Strategy


def strategies(*, service_network: str) -> dict[str, Strategy]:
    """Collection name → strategy."""
    return {
        "configmaps": core.ConfigMaps(),
        "customresourcedefinitions.apiextensions.k8s.io": CustomResourceDefinitions(),
        "namespaces": core.Namespaces(),
        "persistentvolumeclaims": core.PersistentVolumeClaims(),
        "secrets": core.Secrets(),
        "services": services.Services(service_network),
    }

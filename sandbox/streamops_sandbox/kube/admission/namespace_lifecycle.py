"""Built-in admission: the plugins every API server runs.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review

Json = dict[str, Any]

#: Namespaces that cannot be deleted.
_PROTECTED = ("default", "kube-system", "kube-public")


class NamespaceLifecycle:
    """Nothing is created in a namespace that is missing or going away."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def mutate(self, review: Review) -> Json | None:
        """Refuse, or change nothing."""
        resource = review.resource
        if review.operation == "DELETE" and resource.collection == "namespaces":
            if review.name in _PROTECTED:
                raise errors.forbidden(
                    "", "namespaces", review.name, "this namespace may not be deleted"
                )
            return None
        if review.operation != "CREATE" or not resource.namespaced:
            return None
        self.check(resource.group, resource.plural, review.namespace, review.name)
        return None

    def check(self, group: str, plural: str, namespace: str, name: str) -> None:
        """Raises a 404 or 403 where nothing can be created in a namespace."""
        stored = self._api.get("namespaces", "", namespace)
        if stored is None:
            raise errors.not_found("", "namespaces", namespace)
        if not stored.load()["metadata"].get("deletionTimestamp"):
            return
        error = errors.forbidden(
            group,
            plural,
            name,
            f"unable to create new content in namespace {namespace} because it is being terminated",
        )
        details = error.details or {}
        details["causes"] = [
            errors.cause(
                "NamespaceTerminating",
                "metadata.namespace",
                f"namespace {namespace} is being terminated",
            )
        ]
        raise error

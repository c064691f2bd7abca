"""NamespaceLifecycle: nothing is created in a namespace that is missing or going away."""

from __future__ import annotations

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.objects import Object

#: Namespaces that cannot be deleted.
_PROTECTED = ("default", "kube-system", "kube-public")


class NamespaceLifecycle:
    """The plugin NamespaceLifecycle."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def mutate(self, review: Review) -> Object | None:
        """Refuse, or change nothing; raises a 403 or 404."""
        resource, namespace = review.resource, review.namespace
        if review.operation == "DELETE" and resource.collection == "namespaces":
            if review.name in _PROTECTED:
                why = "this namespace may not be deleted"
                raise errors.forbidden("", "namespaces", review.name, why)
        elif review.operation == "CREATE" and resource.namespaced:
            stored = self._api.get("namespaces", "", namespace)
            if stored is None:
                raise errors.not_found("", "namespaces", namespace)
            if stored.load()["metadata"].get("deletionTimestamp"):
                text = "because it is being terminated"
                why = f"unable to create new content in namespace {namespace} {text}"
                error = errors.forbidden(resource.group, resource.plural, review.name, why)
                text, field = f"namespace {namespace} is being terminated", "metadata.namespace"
                cause = errors.cause("NamespaceTerminating", field, text)
                error.details = {**(error.details or {}), "causes": [cause]}
                raise error
        return None

"""NamespaceLifecycle: nothing is created in a namespace that is missing or going away."""

from __future__ import annotations

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review

#: Namespaces that cannot be deleted.
_PROTECTED = ("default", "kube-system", "kube-public")


async def check(api: Api, review: Review) -> None:
    """Refuse what may not be; raises a 403 or 404."""
    resource, namespace, name = review.resource, review.namespace, review.name
    is_namespace = resource.collection == "namespaces"
    if review.operation == "DELETE" and is_namespace and name in _PROTECTED:
        raise errors.forbidden("", "namespaces", name, "this namespace may not be deleted")
    if review.operation != "CREATE" or not resource.namespaced:
        return
    stored = api.get("namespaces", "", namespace)
    if stored is None:
        raise errors.not_found("", "namespaces", namespace)
    if stored.load()["metadata"].get("deletionTimestamp"):
        text = f"namespace {namespace} because it is being terminated"
        why = f"unable to create new content in {text}"
        error = errors.forbidden(resource.group, resource.plural, name, why)
        text, field = f"namespace {namespace} is being terminated", "metadata.namespace"
        cause = errors.cause("NamespaceTerminating", field, text)
        error.details = {**(error.details or {}), "causes": [cause]}
        raise error

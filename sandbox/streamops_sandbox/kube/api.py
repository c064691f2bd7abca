"""What the parts of one API server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.authn import User
from streamops_sandbox.kube.errors import qualified
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.quotas import Quotas
from streamops_sandbox.kube.resources import Registry, Resource
from streamops_sandbox.kube.store import Collection, Store, Stored
from streamops_sandbox.objects import Object

_PLAIN = Strategy()


@dataclass(slots=True)
class Write:
    """One write request: whose it is, of which object, and how it is made."""

    user: User
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""
    manager: str = ""
    #: Whether it is a server-side apply, whose object carries its managedFields already.
    applied: bool = False
    dry_run: bool = False
    #: `Strict`, `Warn` or `Ignore`: what happens to unknown fields.
    field_validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)
    #: Duplicate fields of the body, reported with the unknown ones.
    duplicates: list[str] = field(default_factory=list)
    #: Whether the object is the outcome of a patch, whose errors are reported as the patch's.
    patched: bool = False


@dataclass(slots=True)
class Review:
    """A write on its way through admission; `obj` is what would be stored."""

    resource: Resource
    operation: str  # CREATE, UPDATE, DELETE, CONNECT
    namespace: str
    name: str
    obj: Object | None
    old: Object | None
    write: Write
    options: Object
    subresource: str = ""

    def creates(self, *collections: str) -> bool:
        """Return whether an object of one of these types is created."""
        is_creation = self.operation == "CREATE" and not self.subresource
        return is_creation and self.resource.collection in collections


#: Changes (mutating) or checks (validating) a write; raises StatusError to refuse it.
Mutator = Callable[[Review], Awaitable[Object | None]]
Validator = Callable[[Review], Awaitable[None]]


class Api:
    """Storage, resource types and the per-kind strategies of one server."""

    def __init__(
        self, registry: Registry, strategies: dict[str, Strategy], custom: Strategy
    ) -> None:
        self.store = Store()
        self.quotas = Quotas(self.store)
        self.registry = registry
        self._strategies = strategies
        self._custom = custom

    def strategy(self, resource: Resource) -> Strategy:
        """How objects of a type behave."""
        if resource.custom:
            return self._custom
        return self._strategies.get(qualified(resource.plural, resource.group), _PLAIN)

    def collection(self, resource: Resource) -> Collection:
        """Where objects of a type are."""
        return self.store.collection(resource.collection)

    def get(self, collection: str, namespace: str, name: str) -> Stored | None:
        """One object of a collection, or None."""
        return self.store.collection(collection).get(namespace, name)

    def require(self, resource: Resource, namespace: str, name: str) -> Stored:
        """One object; raises a 404."""
        found = self.collection(resource).get(namespace, name)
        if found is None:
            raise errors.not_found(resource.group, resource.plural, name)
        return found

    def uid_of(self, collection: str, namespace: str, name: str) -> str | None:
        """The uid of an object, or None where there is none."""
        found = self.get(collection, namespace, name)
        return found.uid if found else None

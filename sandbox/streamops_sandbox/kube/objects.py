"""Creating, updating and deleting objects: the path every write takes.

Order as in k8s.io/apiserver's generic registry: decode, default, mutate (admission), prepare,
validate, validate (admission), store.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from streamops_sandbox import timestamps
from streamops_sandbox.kube import conversion, errors, managed, merge, names, shaping
from streamops_sandbox.kube.api import Api, Mutator, Review, Validator, Write
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Stored
from streamops_sandbox.objects import Object

Transform = Callable[[Object], Object]

#: Metadata the server keeps from the stored object whatever an update says.
_KEPT = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
)  # fmt: skip
#: Endpoints that change the desired state: the object itself, and views of a part of it.
_DESIRED_STATE = ("", "scale")
_RETRIES = 5
_NAME_RETRIES = 8


@dataclass(frozen=True, slots=True)
class Objects:
    """Writes to one server's storage."""

    api: Api
    mutators: list[Mutator]
    validators: list[Validator]

    async def create(self, obj: Object, write: Write) -> Object:
        """Store a new object; returns it."""
        resource, namespace = write.resource, write.namespace
        shaping.check_type(obj, resource, self.api)
        obj = shaping.shape(obj, resource, self.api, write)
        metadata = obj["metadata"]
        check_namespace(metadata, resource, namespace)
        if metadata.get("resourceVersion") and not write.applied:
            text = "resourceVersion should not be set on objects to be created"
            raise errors.StatusError(500, "", text)
        generation = metadata.get("generation")
        for key in ("resourceVersion", "selfLink", *_KEPT):
            metadata.pop(key, None)
        if generation:
            metadata["generation"] = generation
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamps.now()
        generated = self._name(metadata, resource)
        if resource.has_status:
            obj.pop("status", None)
        obj = _track(None, obj, write)
        name, options = metadata["name"], _options(write)
        review = Review(resource, "CREATE", namespace, name, obj, None, write, options)
        obj = await self._admit(review)
        strategy = self.api.strategy(resource)
        if strategy.tracks_generation:
            obj["metadata"]["generation"] = 1
        strategy.prepare_create(obj, self.api)
        await self._validate(review, obj, None)
        for _ in range(_NAME_RETRIES):
            obj, kept = _stored_form(obj, resource)
            if self.api.collection(resource).get(namespace, obj["metadata"]["name"]) is None:
                return self._commit(obj, kept, None, write)
            if not generated:
                break
            obj["metadata"]["name"] = names.generate(obj["metadata"]["generateName"])
        raise errors.already_exists(resource.group, resource.plural, obj["metadata"]["name"])

    @staticmethod
    def _name(metadata: Object, resource: Resource) -> bool:
        if metadata.get("name"):
            return False
        if not metadata.get("generateName"):
            found = Causes()
            found.required("metadata.name", "name or generateName is required")
            raise errors.invalid(resource.group, resource.kind, "", found)
        metadata["name"] = names.generate(metadata["generateName"])
        return True

    async def update(self, transform: Transform, write: Write) -> Object:
        """Change an object by a function of its present state; returns it.

        Tried again when somebody else's write comes between, unless the new state names the
        resourceVersion it was made from (then 409).
        """
        resource = write.resource
        for _ in range(_RETRIES):
            stored = self.api.require(resource, write.namespace, write.name)
            old = conversion.read(stored, resource)
            # Only an applied configuration is laid over the old state without changing it.
            new = transform(old if write.applied else conversion.read(stored, resource))
            changed = await self._change(stored, old, new, write)
            if changed is not None:
                return changed
        raise errors.conflict(resource.group, resource.plural, write.name)

    async def _change(
        self, stored: Stored, old: Object, new: Object, write: Write
    ) -> Object | None:
        """One attempt; None when the stored object is no longer the one it started from."""
        resource, subresource = write.resource, write.subresource
        unchanged = write.applied and (new is old or managed.same_but_times(old, new))
        if not unchanged:
            shaping.check_type(new, resource, self.api, patched=write.patched)
            new = shaping.shape(new, resource, self.api, write)
        self._check_identity(new, stored, write)
        new = _track(old, _keep(new, old, resource, subresource), write)
        review = Review(
            resource, "UPDATE", stored.namespace, stored.name, new, old, write,
            _options(write), subresource,
        )  # fmt: skip
        admitted = await self._admit(review)
        if unchanged and admitted is new:
            await self._validate(review, new, old, checked=True)
            current = self.api.collection(resource).get(stored.namespace, stored.name)
            return old if current is stored else None
        new = _keep(admitted, old, resource, subresource)
        strategy = self.api.strategy(resource)
        if subresource in _DESIRED_STATE:
            strategy.prepare_update(new, old, self.api)
            if strategy.tracks_generation and _desired(new) != _desired(old):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        unchanged = unchanged and managed.same_but_times(old, new)
        await self._validate(review, new, old, checked=unchanged)
        new, kept = _stored_form(new, resource)
        if self.api.collection(resource).get(stored.namespace, stored.name) is not stored:
            return None
        new["metadata"]["resourceVersion"] = str(stored.revision)
        if unchanged or managed.same_but_times(old, new):
            return old
        return self._commit(new, kept, old, write)

    def _check_identity(self, new: Object, stored: Stored, write: Write) -> None:
        """Check that the new state is of the same object, and made from its latest version."""
        metadata, resource = new["metadata"], write.resource
        check_name(metadata, stored.name)
        check_namespace(metadata, resource, stored.namespace)
        version = metadata.get("resourceVersion")
        if not version and not self.api.strategy(resource).unconditional_update:
            found = Causes()
            found.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise errors.invalid(resource.group, resource.plural, stored.name, found)
        if metadata.get("uid") and metadata["uid"] != stored.uid:
            if write.patched or write.applied:
                found = Causes()
                for _ in range(2):
                    found.invalid("metadata.uid", metadata["uid"], "field is immutable")
                raise errors.invalid(resource.group, resource.kind, stored.name, found)
            key = f"/registry/{resource.plural}/{stored.namespace}/{stored.name}".replace("//", "/")
            why = (
                f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
                f"AdditionalErrorMsg: Precondition failed: UID in precondition: {metadata['uid']}, UID in "
                f"object meta: {stored.uid}"
            )
            raise errors.conflict(resource.group, resource.plural, stored.name, why)
        if version and not version.isdigit():
            text = f'strconv.ParseUint: parsing "{version}": invalid syntax'
            raise errors.StatusError(500, "", text)
        if version and version != str(stored.revision):
            raise errors.conflict(resource.group, resource.plural, stored.name)

    async def _admit(self, review: Review) -> Object:
        """Let mutating admission change the object; nobody owns what it changes."""
        assert review.obj is not None
        before = review.obj
        for mutate in self.mutators:
            changed = await mutate(review)
            if changed is not None:
                review.obj = changed
        if review.obj is before:
            return before
        obj = shaping.shape(review.obj, review.resource, self.api, review.write)
        obj["metadata"].pop("managedFields", None)
        if "managedFields" in before["metadata"]:
            obj["metadata"]["managedFields"] = before["metadata"]["managedFields"]
        review.obj = obj
        return obj

    async def _validate(
        self, review: Review, obj: Object, old: Object | None, *, checked: bool = False
    ) -> None:
        if not checked:
            # A binding changes what an update may not: the node.
            before = None if review.subresource == "binding" else old
            shaping.check(obj, before, review.resource, self.api, review.subresource)
        if not review.subresource:
            review.write.warnings.extend(self.api.strategy(review.resource).warnings(obj))
        review.obj = obj
        for validate in self.validators:
            await validate(review)

    def _commit(self, obj: Object, kept: Object, old: Object | None, write: Write) -> Object:
        """Store what is `kept`, and finish a deletion whose last finalizer went."""
        if write.dry_run:
            return obj
        metadata, resource = obj["metadata"], write.resource
        gone = (
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
            and not (obj.get("spec") or {}).get("finalizers")
        )
        stored = self.api.store.put(resource.collection, kept)
        metadata["resourceVersion"] = str(stored.revision)
        if old is not None and gone:
            self.remove(resource, metadata.get("namespace", ""), metadata["name"])
        else:
            self.api.strategy(resource).written(obj, old, self.api)
            if old is None:
                self.api.quotas.refresh(metadata.get("namespace", ""))
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Take an object out of the storage for good."""
        last = self.api.store.remove(resource.collection, namespace, name)
        if last is not None:
            self.api.strategy(resource).deleted(last.load(), self.api)
            self.api.quotas.refresh(namespace)

    async def review_deletion(self, review: Review) -> None:
        """Ask admission whether an object may go."""
        for mutate in self.mutators:
            await mutate(review)
        for validate in self.validators:
            await validate(review)


def _track(old: Object | None, new: Object, write: Write) -> Object:
    """Return the new state with what changes owned by the writer."""
    if write.applied:
        return new
    version, schema = write.resource.api_version, write.resource.schema
    manager = managed.Manager(write.manager, managed.UPDATE, version, write.subresource)
    try:
        return managed.track_update(old, new, manager, schema, has_status=write.resource.has_status)
    except merge.TypedError:
        return new  # what is wrong with it, validation tells


def check_name(metadata: Object, name: str) -> None:
    """The body's name has to be the path's; raises a 400."""
    given = metadata.get("name")
    if not given:
        raise errors.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if given != name:
        why = f"the name of the object ({given}) does not match the name on the URL ({name})"
        raise errors.bad_request(why)


def check_namespace(metadata: Object, resource: Resource, namespace: str) -> None:
    """The body's namespace has to be the path's; sets it. Raises a 400."""
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    if metadata.get("namespace") not in (None, "", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def _stored_form(obj: Object, resource: Resource) -> tuple[Object, Object]:
    """Return the object as it will be answered, and in the version it is kept in."""
    kept = conversion.to_storage(obj, resource)
    if kept is obj or resource.conversion is None:
        return obj, kept
    return {**kept, "metadata": obj["metadata"], "apiVersion": obj["apiVersion"]}, kept


def _options(write: Write) -> Object:
    return {"dryRun": ["All"]} if write.dry_run else {}


def _keep(new: Object, old: Object, resource: Resource, subresource: str) -> Object:
    """What this endpoint may not change stays as it is."""
    if subresource == "status":
        kept = {key: value for key, value in old.items() if key != "status"}
        if "status" in new:
            kept["status"] = new["status"]
        kept["metadata"] = {**old["metadata"]}
        if "managedFields" in new["metadata"]:
            kept["metadata"]["managedFields"] = new["metadata"]["managedFields"]
        return kept
    result = dict(new)
    metadata = dict(new["metadata"])
    for key in _KEPT:
        metadata.pop(key, None)
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
    metadata.pop("selfLink", None)
    result["metadata"] = metadata
    if resource.has_status and subresource != "binding":
        result.pop("status", None)
        if "status" in old:
            result["status"] = old["status"]
    return result


def _desired(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}

"""Applies a bundle of objects: everything is tried out first, then written in order.

A run has four steps: resolve kinds, read what is there (one request per kind and namespace), try
the difference by a server-side dry run, write. Objects that `managed_fields` shows to be applied
already cost no request of their own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .._module.parallel import in_parallel
from . import order
from .client import FORBIDDEN, Client, Resource, UnknownKind, close_kinds
from .diff import changed
from .errors import ApiError, KubeError
from .managed_fields import is_applied
from .manifests import Refused, Source
from .polling import poll
from .schema import Schemas, crd_problems
from .takeover import client_side_entries, migrated, without_left_out

Object = dict[str, Any]
Key = tuple[str, str, str, str]  # group, kind, namespace, name
#: Label of the members of an apply set: the id of the set.
PART_OF = "applyset.kubernetes.io/part-of"
In = TypeVar("In")
Out = TypeVar("Out")
RETRY_FIRST, RETRY_MOST = 0.2, 2.0  # seconds between two tries


@dataclass(frozen=True)
class Settings:
    """How to apply; the names are those of the module's options."""

    field_manager: str = "streamops.knative"
    force_conflicts: bool = False
    recreate: bool = False
    #: Whether what others have changed of members of the apply set is set back.
    repair: bool = False
    validate: str = "strict"
    namespace: str = "default"
    concurrency: int = 8
    retry_timeout: float = 120.0
    check_mode: bool = False
    namespaces: str = "apply"
    #: What earlier tasks delete, which in check mode is still there.
    planned_deletions: frozenset[Key] = frozenset()


@dataclass
class Item:
    """One object on its way: as wanted, as it was, as it is now."""

    definition: Object
    origin: str
    resource: Resource
    before: Object | None = None
    after: Object | None = None
    # created, changed, unchanged, recreated, deleted, pruned
    action: str = "unchanged"
    crd: Object | None = None  # the bundle's definition of this kind, where it is new or changes

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.definition["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """metadata.namespace; None for kinds that have none."""
        namespace: str | None = self.definition["metadata"].get("namespace")
        return namespace

    @property
    def title(self) -> str:
        """Human-readable identifier: "Deployment knative-eventing/eventing-webhook"."""
        scope = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {scope}{self.name}"

    @property
    def key(self) -> Key:
        """Identity, the same for all versions of an API group."""
        return (self.resource.group, self.resource.kind, self.namespace or "", self.name)

    @property
    def wave(self) -> int:
        """When it is applied."""
        return order.wave(self.resource.group, self.resource.kind)


class Interrupted(KubeError):
    """Writing stopped half way; what was written stays, and the same run again goes on from there."""


class StillFailing(Interrupted):
    """Retries were exhausted; a dependency is not ready."""


@dataclass
class Bundle:
    """The objects of one run."""

    items: list[Item]
    warnings: list[str] = field(default_factory=list)
    foreseen_namespaces: set[str] = field(default_factory=set)  # of earlier tasks, in check mode

    @property
    def namespaces(self) -> set[str]:
        """Namespaces the bundle itself brings."""
        return {item.name for item in self.items if item.resource.kind == "Namespace"}


def resolve(
    client: Client,
    sources: Iterable[Source],
    default_namespace: str,
    foreseen: Iterable[Resource] = (),
) -> Bundle:
    """Find the resource of every object; raise Refused with all unknown kinds.

    `foreseen` are kinds that the API server may not have yet.
    """
    sources = sorted(sources, key=lambda source: source.is_extra)  # these last
    brought = {(kind.api_version, kind.kind): kind for kind in foreseen} | _brought_kinds(sources)
    problems: list[str] = []
    found: dict[Key, Item] = {}
    bundle = Bundle([])
    for source in sources:
        api_version, kind = source.definition["apiVersion"], source.definition["kind"]
        resource = client.resources().get((api_version, kind)) or brought.get((api_version, kind))
        if resource is None:
            close = close_kinds([*client.resources(), *brought], api_version, kind)
            problems.append(f"{source.origin}: {UnknownKind(api_version, kind, close)}")
            continue
        metadata = source.definition["metadata"]
        if resource.namespaced:
            metadata.setdefault("namespace", default_namespace)
        else:
            metadata.pop("namespace", None)  # as the server does
        item = Item(source.definition, source.origin, resource)
        twin = found.get(item.key)
        if twin and source.is_extra:
            continue
        if twin and twin.definition != item.definition:
            bundle.warnings.append(
                f"{item.title} is defined in both {twin.origin} and {item.origin}: the definition from"
                f" {item.origin} is used"
            )
        found[item.key] = item
    if problems:
        raise Refused(problems)
    bundle.items = sorted(found.values(), key=lambda item: item.wave)
    return bundle


def _brought_kinds(sources: list[Source]) -> dict[tuple[str, str], Resource]:
    kinds: dict[tuple[str, str], Resource] = {}
    for source in sources:
        if source.definition["kind"] == "CustomResourceDefinition":
            kinds |= served_kinds(source.definition)
    return kinds


def served_kinds(crd: Object) -> dict[tuple[str, str], Resource]:
    """Return the kinds a CustomResourceDefinition serves, by (apiVersion, kind)."""
    kinds: dict[tuple[str, str], Resource] = {}
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    for version in spec.get("versions") or []:
        if version.get("served", True) and names.get("kind") and names.get("plural"):
            api_version = f"{spec.get('group')}/{version.get('name')}"
            kinds[api_version, names["kind"]] = Resource(
                api_version, names["kind"], names["plural"], spec.get("scope") == "Namespaced"
            )
    return kinds


class Applier:
    """Runs the steps; `progress` is called with a sentence while something is waited for."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        progress: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._progress = progress
        self._schemas = Schemas(client)
        #: Whether anything was really changed or deleted so far.
        self.changed = False

    # -- read ------------------------------------------------------------------------------

    def read(self, bundle: Bundle) -> None:
        """Fill in `before`: one GET for a single object of a kind and namespace, else one LIST.

        The namespaces of the bundle come first: below those that are yet to be created there is nothing to read.
        """
        namespaces = [item for item in bundle.items if item.resource.kind == "Namespace"]
        self._read_all(namespaces)
        absent = {item.name for item in namespaces if item.before is None}
        self._read_all(
            item
            for item in bundle.items
            if item.resource.kind != "Namespace" and item.namespace not in absent
        )

    def _read_all(self, items: Iterable[Item]) -> None:
        served = self._client.resources()
        unread = [
            item
            for item in items
            if (item.resource.api_version, item.resource.kind) in served and item.before is None
        ]
        for item, live in zip(unread, self.live(unread), strict=True):
            item.before = live

    def live(self, items: list[Item]) -> list[Object | None]:
        """Return the objects as they are now: by one GET, or one LIST for several of a kind and namespace."""
        groups: dict[tuple[Resource, str | None], list[str]] = defaultdict(list)
        for item in items:
            groups[item.resource, item.namespace].append(item.name)
        read = self.parallel(lambda group: self._read_group(*group[0], group[1]), groups.items())
        found = dict(zip(groups, read, strict=True))
        return [found[item.resource, item.namespace].get(item.name) for item in items]

    def _read_group(
        self, resource: Resource, namespace: str | None, names: list[str]
    ) -> dict[str, Object | None]:
        if len(names) > 1:
            try:
                listed = self._client.list(resource, namespace)
                return {str(obj["metadata"]["name"]): obj for obj in listed}
            except ApiError as error:
                if error.not_found:
                    return {}
                if error.status != FORBIDDEN:
                    raise
        # Without the permission to list there may be one to get.
        return {name: self._client.get(resource, name, namespace) for name in names}

    # -- try -------------------------------------------------------------------------------

    def plan(self, bundle: Bundle) -> None:
        """Fill in `action` and the predicted `after`; raise Refused with all that is wrong."""
        candidates = [item for item in bundle.items if not self._is_applied(item)]
        changing = self._changing_kinds(candidates)
        missing = self._missing_namespaces(bundle, candidates)
        problems: list[str] = []

        def attempt(item: Item) -> list[str]:
            item.crd = changing.get((item.resource.group, item.resource.kind))
            return self._foresee(item, item.namespace in missing)

        problems += [
            problem for item in candidates for problem in _of(item, _version_problems(item))
        ]
        absent = {item.namespace for item in candidates if item.namespace in missing}
        unexpected = absent - bundle.namespaces - bundle.foreseen_namespaces
        for namespace in sorted(str(name) for name in unexpected):
            problems.append(
                f"namespace '{namespace}' does not exist and is not part of this bundle"
            )
        for found in self.parallel(attempt, candidates):
            problems += found
        if problems:
            raise Refused(list(dict.fromkeys(problems)))

    def _is_applied(self, item: Item) -> bool:
        if item.before is None or _is_leaving(item.before):
            return False
        if self._takes_over(item):
            return False
        if is_applied(item.definition, item.before, self._settings.field_manager):
            item.after = item.before
            return True
        return False

    def _takes_over(self, item: Item) -> bool:
        """Return whether an object of client-side apply becomes this manager's."""
        return bool(
            self._settings.force_conflicts and item.before and client_side_entries(item.before)
        )

    @staticmethod
    def _changing_kinds(candidates: list[Item]) -> dict[tuple[str, str], Object]:
        return {
            (item.definition["spec"]["group"], item.definition["spec"]["names"]["kind"]): (
                item.definition
            )
            for item in candidates
            if item.resource.kind == "CustomResourceDefinition"
        }

    def _missing_namespaces(self, bundle: Bundle, candidates: list[Item]) -> set[str | None]:
        there = {
            item.name for item in bundle.items if item.resource.kind == "Namespace" and item.before
        }
        wanted = {item.namespace for item in candidates if item.before is None and item.namespace}
        unknown = sorted(wanted - there - bundle.namespaces)
        namespaces = self._client.resource("v1", "Namespace")
        found = self.parallel(lambda name: self._client.get(namespaces, name), unknown)
        there |= {name for name, obj in zip(unknown, found, strict=True) if obj}
        return set(wanted - there)

    def _foresee(self, item: Item, namespace_missing: bool) -> list[str]:
        """Predict one object; return what is wrong with it."""
        item.action = "changed" if item.before else "created"
        item.after = _overlay(item.before, item.definition)
        if (item.resource.api_version, item.resource.kind) not in self._client.resources():
            # Without the definition at hand there is nothing to judge it by yet.
            return _of(item, crd_problems(item.definition, item.crd) if item.crd else [])
        if namespace_missing:
            return _of(item, self._schemas.problems(item.definition))
        if _is_leaving(item.before):
            item.action = "recreated"  # once it is gone
            return _of(item, self._schemas.problems(item.definition))
        try:
            item.after = self._apply(item, dry_run=True)
        except ApiError as error:
            if item.crd is not None and error.status in (400, 422):
                # Judged by the definition that is about to be replaced: the new one counts.
                return _of(item, crd_problems(item.definition, item.crd))
            return self._judge(item, error)
        if item.before and self._takes_over(item):
            item.after = without_left_out(item.after, item.before, item.definition)
        if item.before and not changed(item.before, item.after):
            item.action = "unchanged"
        return []

    def _judge(self, item: Item, error: ApiError) -> list[str]:
        if error.status == 401:
            raise error
        if retryable(error) or "does not support dry run" in error.message:
            return []  # cannot be validated yet; the write validates it
        if error.not_found and item.resource.kind == "RoleBinding":
            return []  # its role comes first: who may not grant everything is checked against it
        if _is_immutable(error):
            if _is_finished_job(item) or (self._settings.recreate and not _holds_data(item)):
                item.action = "recreated"
                return []
            advice = _immutable_advice(item, self._settings)
            return _of(item, [f"{sentence}. {advice}" for sentence in _sentences(error)])
        if error.status in (400, 422) and not error.causes:
            # Decoding stops at the first mistake or two; the schema knows all of them.
            return _of(item, self._schemas.problems(item.definition) or _sentences(error))
        return _of(item, _sentences(error))

    # -- write -----------------------------------------------------------------------------

    def write(self, bundle: Bundle) -> None:
        """Write what `plan` found, wave by wave; raise Interrupted with every failure.

        What fails only because something else is not ready yet (a webhook, a kind, a namespace) does
        not hold up later waves, which may be what makes it ready. It is tried again at the end.
        """
        waves: dict[int, list[Item]] = defaultdict(list)
        for item in bundle.items:
            if item.action != "unchanged":
                waves[item.wave].append(item)
        deferred: dict[str, tuple[Item, ApiError]] = {}
        for number in sorted(waves):
            failures: list[str] = []
            outcomes = self.parallel(self._write, waves[number])
            for item, error in zip(waves[number], outcomes, strict=True):
                if error is None:
                    continue
                if retryable(error, in_bundle=True):
                    deferred[item.title] = (item, error)
                else:
                    failures.append(f"{item.title}: {' '.join(_sentences(error))}")
            if failures:
                raise Interrupted(_stopped(failures))
        self._retry(deferred)

    def _retry(self, deferred: dict[str, tuple[Item, ApiError]]) -> None:
        deadline = time.monotonic() + self._settings.retry_timeout
        pause = RETRY_FIRST
        while deferred:
            if time.monotonic() > deadline:
                failures = [
                    f"{title}: {error.message}" for title, (_item, error) in deferred.items()
                ]
                raise StillFailing(
                    _stopped(failures)
                    + f"\nTried again for {self._settings.retry_timeout:g} s (retry_timeout)."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, RETRY_MOST)
            title, (_item, reason) = next(iter(deferred.items()))
            self._progress(f"{len(deferred)} to be tried again, first {title}: {reason.message}")
            items = [item for item, _error in deferred.values()]
            for item, error in zip(items, self.parallel(self._write, items), strict=True):
                if error is None:
                    del deferred[item.title]
                elif retryable(error, in_bundle=True):
                    deferred[item.title] = (item, error)
                else:
                    raise Interrupted(_stopped([f"{item.title}: {' '.join(_sentences(error))}"]))

    def _write(self, item: Item) -> ApiError | None:
        try:
            if item.action == "recreated" and item.before:
                uid = item.before["metadata"]["uid"]
                if not _is_leaving(item.before):
                    self.delete(item.resource, item.name, item.namespace, uid=uid)
                self._await_deletion(item, item.before)
            elif item.before and self._takes_over(item):
                self._take_over(item, item.before)
            item.after = self._apply(item, dry_run=False)
        except KubeError as error:
            self.changed = self.changed or error.in_doubt
            if isinstance(error, ApiError):
                return error
            raise
        if item.action == "changed" and item.before and not changed(item.before, item.after):
            item.action = "unchanged"
        else:
            self.changed = True
        return None

    def _take_over(self, item: Item, live: Object) -> None:
        """Make this manager the owner of what client-side apply owns."""
        for last in (False, False, True):
            try:
                self._client.set_managed_fields(
                    item.resource, live, migrated(live, self._settings.field_manager)
                )
            except ApiError as error:
                if error.status not in (409, 422) or last:
                    raise
                # The object was modified concurrently, or by a request whose answer was lost.
                found = self._client.get(item.resource, item.name, item.namespace)
                if found is None or not client_side_entries(found):
                    return
                live = found
            else:
                self.changed = True
                return

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        *,
        uid: str,
        propagation: str = "Background",
    ) -> None:
        """Ask for the deletion of an object, which may be gone already."""
        try:
            if self._client.delete(resource, name, namespace, uid=uid, propagation=propagation):
                self.changed = True
        except KubeError as error:
            self.changed = self.changed or error.in_doubt
            raise

    @contextmanager
    def accounting(self) -> Iterator[None]:
        """Have errors report whether this has changed anything before."""
        try:
            yield
        except KubeError as error:
            error.result["changed"] = self.changed
            raise

    def _await_deletion(self, item: Item, old: Object) -> None:
        def look() -> str:
            live = self._client.get(item.resource, item.name, item.namespace)
            if live is None or live["metadata"]["uid"] != old["metadata"]["uid"]:
                return ""
            return f"{item.title} is still being deleted"

        deadline = time.monotonic() + self._settings.retry_timeout
        if not poll(
            self._client, look, deadline=deadline, pause=RETRY_FIRST, progress=self._progress
        ):
            return
        holders = ", ".join(old["metadata"].get("finalizers") or ["its dependents"])
        raise Interrupted(
            f"{item.title} is still being deleted after {self._settings.retry_timeout:g} s"
            f" (retry_timeout): it waits for {holders}"
        )

    def _apply(self, item: Item, *, dry_run: bool) -> Object:
        return self._client.apply(
            item.resource,
            item.definition,
            field_manager=self._settings.field_manager,
            force=self._settings.force_conflicts or (self._settings.repair and _is_member(item)),
            dry_run=dry_run,
            field_validation=self._settings.validate.capitalize(),
        )

    def parallel(self, work: Callable[[In], Out], inputs: Iterable[In]) -> list[Out]:
        """Return the results in the order of the inputs, `concurrency` at a time."""
        return in_parallel(work, inputs, self._settings.concurrency)


def retryable(error: ApiError, *, in_bundle: bool = False) -> bool:
    """Return whether the same request may well succeed in a moment, and only because of time.

    A webhook that cannot be called, an overloaded server, a namespace on its way out; and, where the
    bundle brings them, a kind or a namespace that is not there yet.
    """
    message = error.message
    if error.status == 500 and (
        "failed calling webhook" in message
        or ("conversion webhook for" in message and "failed" in message)
    ):
        return True
    if error.status in (429, 503):
        return True
    if error.status == 409 and not error.conflicts and "object has been modified" in message:
        return True
    if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
        return True
    return (
        in_bundle
        and error.not_found
        and (
            "could not find the requested resource" in message
            or "page not found" in message  # a kind whose definition is new to this API server
            or message.startswith("namespaces ")
        )
    )


def _version_problems(item: Item) -> list[str]:
    """Return what is wrong with the resourceVersion of an exported object."""
    wanted = item.definition["metadata"].get("resourceVersion")
    if not wanted:
        return []
    if item.before is None:
        return ["metadata.resourceVersion is set, but the object does not exist: remove it"]
    live = item.before["metadata"]["resourceVersion"]
    if wanted == live:
        return []
    return [
        f"metadata.resourceVersion is {wanted}, but the object has {live}: it was changed since it was"
        " exported; remove resourceVersion to apply it anyway"
    ]


def _sentences(error: ApiError) -> list[str]:
    if error.conflicts:
        return [
            f"{cause['field']} is owned by '{cause['manager']}': remove it on either side, or set"
            " force_conflicts"
            for cause in error.conflicts
        ]
    if error.status == 422 and error.causes:
        return [f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in error.causes]
    return [str(error)]


def _is_immutable(error: ApiError) -> bool:
    """Return whether a field cannot be changed in place (the words are the API server's and Knative's webhooks')."""
    return error.status in (400, 403, 422) and any(
        words in error.message
        for words in (
            "field is immutable",
            "updates to statefulset spec for fields other than",
            "may not change once set",
            "is immutable after creation",
            "cannot change roleRef",
            "Immutable fields changed",
            "Immutable annotations changed",
        )
    )


def _holds_data(item: Item) -> bool:
    """Return whether deleting an object deletes more than can be created again."""
    return item.resource.kind in (
        "CustomResourceDefinition",
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
    )


def _immutable_advice(item: Item, settings: Settings) -> str:
    if _holds_data(item):
        return (
            "It is not recreated, since what it holds would be lost: delete it by hand if need be"
        )
    if settings.recreate:
        return "It cannot be recreated"
    return "Set recreate to delete it and create it again"


def _stopped(failures: list[str]) -> str:
    return (
        "Not everything could be applied; what was applied stays, and running again goes on from"
        " there:\n" + "\n".join(f"- {failure}" for failure in failures)
    )


def _is_leaving(obj: Object | None) -> bool:
    return bool(obj and obj["metadata"].get("deletionTimestamp"))


def _is_member(item: Item) -> bool:
    """Return whether an object is a member of the apply set already; those of other sets are refused before."""
    labels = (item.before or {}).get("metadata", {}).get("labels") or {}
    return PART_OF in labels


def _is_finished_job(item: Item) -> bool:
    if (item.resource.group, item.resource.kind) != ("batch", "Job") or item.before is None:
        return False
    conditions = (item.before.get("status") or {}).get("conditions") or []
    return any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in conditions
    )


def _of(item: Item, problems: list[str]) -> list[str]:
    return [f"{item.origin}: {item.title}: {problem}" for problem in problems]


def _overlay(base: Any, change: Any) -> Any:
    """Return what an apply most likely makes of an object, for when the server cannot be asked."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    return {**base, **{key: _overlay(base.get(key), value) for key, value in change.items()}}

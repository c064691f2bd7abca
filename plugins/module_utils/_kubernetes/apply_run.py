"""One run of the `apply` module: from its options to what it returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._module.task import Run
from .apply import Applier, Bundle, Interrupted, Item, Key, Settings, StillFailing, resolve
from .apply_set import ApplySet, scope
from .client import Client, Resource
from .delete import Deleter
from .diff import difference
from .manifests import Source
from .namespaces import claim, missing
from .patches import Patch, patched
from .readiness import Condition
from .wait import Waiter

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `present` and `absent` need besides `Settings`; names as in the module."""

    apply_set: str = ""
    apply_set_namespace: str = "default"
    apply_set_scope: str = ""
    prune: bool = False
    patches: list[Patch] = field(default_factory=list)
    wait: bool = True
    wait_timeout: float = 300.0
    wait_conditions: list[Condition] = field(default_factory=list)
    delete_custom_resources: bool = False
    create_namespace: bool = False
    #: Whether pruned objects go first whose name an object of the bundle has that is of another kind.
    replace: bool = False
    #: Whether only members of the bundle's kinds are read, where an earlier step has read all of the set.
    own_kinds: bool = False
    #: What earlier steps bring; in check mode they have only planned it.
    foreseen_kinds: list[Resource] = field(default_factory=list)
    foreseen_namespaces: list[str] = field(default_factory=list)


@dataclass
class Result:
    """Outcome of a run, in the order things happened."""

    items: list[Item]
    warnings: list[str] = field(default_factory=list)
    #: Titles of members of the apply set that are not in the bundle, and stay.
    surplus: list[str] = field(default_factory=list)
    #: What records the apply set, and goes with it.
    records: frozenset[Key] = frozenset()

    @property
    def changed(self) -> bool:
        """Whether anything did, or in check mode would, change."""
        return any(item.action not in ("unchanged", "kept") for item in self.items)

    def objects(self) -> list[dict[str, str]]:
        """Return one short entry an object."""
        return [
            {
                "api_version": item.resource.api_version,
                "kind": item.resource.kind,
                "namespace": item.namespace or "",
                "name": item.name,
                "action": item.action,
            }
            for item in self.items
        ]

    def counts(self) -> dict[str, int]:
        """Return the number of objects by action."""
        return dict(Counter(item.action for item in self.items))

    def diff(self) -> list[dict[str, str]]:
        """Ansible's diff of everything that changed."""
        return [
            difference(
                item.before,
                None if item.action in ("deleted", "pruned") else item.after,
                item.title,
            )
            for item in self.items
            if item.action not in ("unchanged", "kept")
        ]


def summarize(run: Run, client: Client, results: list[Result]) -> dict[str, Any]:
    """Return what a task returns of the bundles it has applied or deleted, in order; issues warnings."""
    for warning in [*(text for r in results for text in r.warnings), *client.transport.warnings]:
        run.warn(warning)
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts())
    returned: dict[str, Any] = {
        "changed": any(result.changed for result in results),
        "objects": [entry for result in results for entry in result.objects()],
        "counts": dict(counts),
        "requests": client.transport.requests,
    }
    if run.diff:
        returned["diff"] = [entry for result in results for entry in result.diff()]
    return returned


def present(
    client: Client,
    sources: list[Source],
    settings: Settings,
    options: Options,
    progress: Progress = lambda _sentence: None,
) -> Result:
    """Apply, wait, prune. Raises Refused before, Interrupted or NotReady after something changed."""
    applier = Applier(client, settings, progress)
    foreseen = options.foreseen_kinds if settings.check_mode else []
    patched_sources = patched(sources, options.patches)
    bundle = resolve(client, patched_sources, settings.namespace, foreseen)
    if settings.check_mode:
        bundle.foreseen_namespaces = set(options.foreseen_namespaces)
    apply_set = _apply_set(client, applier, options, settings, bundle)
    surplus = _join(apply_set, bundle, options) if apply_set else []
    members = list(surplus)
    staying: list[str] = []
    if not options.prune:
        staying, surplus = [item.title for item in surplus], []
    applier.read(bundle)
    claim(bundle, settings.namespaces)
    if options.create_namespace:
        bundle.items[:0] = missing(client, bundle)
    if apply_set:
        apply_set.check(bundle)
    applier.plan(bundle)
    deleter = Deleter(client, applier, progress, settings, apply_set.parents if apply_set else ())
    if surplus:
        leaving = Bundle(surplus)
        deleter.with_custom_resources(leaving, allowed=options.delete_custom_resources)
        surplus = leaving.items
    deleter.foresee(surplus, "pruned")
    if not settings.check_mode:
        with applier.accounting():
            if apply_set:
                # The set is recorded in a namespace that may be part of the bundle.
                applier.write(Bundle(_home(bundle, apply_set.namespace)))
                apply_set.announce(bundle)
            waiter = Waiter(client, applier, options.wait_conditions, progress)
            names = {(item.namespace, item.name) for item in bundle.items}
            replaced = [i for i in surplus if options.replace and (i.namespace, i.name) in names]
            deleter.delete(replaced, timeout=options.wait_timeout, wait=options.wait)
            _write(applier, bundle, waiter, options)
            if surplus:
                # Last, when what takes its place is there.
                deleter.delete(surplus, timeout=options.wait_timeout, wait=options.wait)
            if apply_set and options.prune:
                apply_set.settle(bundle)
            if apply_set and not options.own_kinds:
                apply_set.retire([] if options.prune else members)
    warnings = _once(bundle.warnings + deleter.warnings)
    return Result([*bundle.items, *surplus], warnings, staying)


def _write(applier: Applier, bundle: Bundle, waiter: Waiter, options: Options) -> None:
    """Write and wait; errors name what does not run."""
    try:
        applier.write(bundle)
        if options.wait:
            waiter.wait(bundle.items, options.wait_timeout)
    except StillFailing as error:
        written = [item for item in bundle.items if item.after is not item.definition]
        raise Interrupted(
            f"{error} Not ready at this moment:\n{waiter.explain(written)}"
        ) from error


def _join(apply_set: ApplySet, bundle: Bundle, options: Options) -> list[Item]:
    """Make the bundle members of the set; return the members that are not in the bundle."""
    apply_set.label(bundle)
    wanted = {item.key: item for item in bundle.items}
    surplus = []
    kinds = scope(bundle.items)[0] if options.own_kinds else None
    for member in apply_set.members(bundle.items, only=kinds):
        if member.key in wanted:
            wanted[member.key].before = member.before
        else:
            surplus.append(member)
    return surplus


def _home(bundle: Bundle, namespace: str) -> list[Item]:
    """Return the namespace, where the bundle is about to create it."""
    return [
        item
        for item in bundle.items
        if (item.resource.kind, item.name) == ("Namespace", namespace) and item.action == "created"
    ]


def _apply_set(
    client: Client, applier: Applier, options: Options, settings: Settings, bundle: Bundle
) -> ApplySet | None:
    if not options.apply_set:
        return None
    return ApplySet(
        client,
        applier,
        options.apply_set,
        options.apply_set_namespace,
        settings.field_manager,
        options.apply_set_scope,
        candidates=[item.namespace for item in bundle.items if item.namespace],
    )


def absent(
    client: Client,
    sources: list[Source],
    settings: Settings,
    options: Options,
    progress: Progress = lambda _sentence: None,
) -> Result:
    """Delete the objects of the sources and of the apply set, in reverse order."""
    applier = Applier(client, settings, progress)
    kinds = client.resources()  # an object of a kind that is gone is gone
    served = [s for s in sources if (s.definition["apiVersion"], s.definition["kind"]) in kinds]
    bundle = resolve(client, served, settings.namespace)
    applier.read(bundle)
    apply_set = _apply_set(client, applier, options, settings, bundle)
    deleter = Deleter(client, applier, progress, settings, apply_set.parents if apply_set else ())
    if apply_set:
        known = {item.key for item in bundle.items}
        bundle.items += [item for item in apply_set.members(bundle.items) if item.key not in known]
    deleter.with_custom_resources(bundle, allowed=options.delete_custom_resources)
    there = [item for item in bundle.items if item.before]
    deleter.foresee(there, "deleted")
    if not settings.check_mode:
        with applier.accounting():
            deleter.delete(there, timeout=options.wait_timeout, wait=options.wait)
            if apply_set:
                apply_set.remove()
    records = frozenset(apply_set.parents if apply_set else ())
    return Result(bundle.items, _once(bundle.warnings + deleter.warnings), records=records)


def _once(warnings: list[str]) -> list[str]:
    return list(dict.fromkeys(warnings))

"""Changes to objects of a bundle before they are applied, so that one manager owns the outcome."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from .manifests import Refused, Source

Object = dict[str, Any]


@dataclass(frozen=True)
class Patch:
    """Which objects, and what is merged into them; an empty field matches everything."""

    merge: Object
    kind: str = ""
    name: str = ""
    namespace: str = ""
    optional: bool = False

    def applies_to(self, definition: Object) -> bool:
        """Return whether this is about an object."""
        metadata = definition["metadata"]
        return (
            self.kind in ("", definition["kind"])
            and self.name in ("", metadata.get("name"))
            and self.namespace in ("", metadata.get("namespace", ""))
        )

    @property
    def target(self) -> str:
        """For messages."""
        scope = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind or 'any kind'} {scope}{self.name or '(any name)'}"


def patched(sources: list[Source], patches: list[Patch]) -> list[Source]:
    """Return the sources with all patches merged in; raise Refused for a patch that meets nothing."""
    unmet = [
        f"patches[{number}]: no {patch.target} is in the bundle: correct the target, or set optional"
        for number, patch in enumerate(patches)
        if not patch.optional and not any(patch.applies_to(s.definition) for s in sources)
    ]
    if unmet:
        raise Refused(unmet)
    return [_patched(source, patches) for source in sources]


def _patched(source: Source, patches: list[Patch]) -> Source:
    definition = source.definition
    for patch in patches:
        if patch.applies_to(source.definition):
            definition = merge(definition, patch.merge)
    return replace(source, definition=definition)


def merge(base: Any, change: Any) -> Any:
    """Merge as JSON (RFC 7386: null removes), except that lists of named things merge by name.

    That is what a person means by "the resources of the container `controller`"; any other list is
    replaced.
    """
    if isinstance(base, dict) and isinstance(change, dict):
        merged = dict(base)
        for key, value in change.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = merge(base.get(key), value)
        return merged
    if _named(base) and _named(change):
        entries = {entry["name"]: entry for entry in base}
        for entry in change:
            entries[entry["name"]] = merge(entries.get(entry["name"]), entry)
        return list(entries.values())
    return copy.deepcopy(change)


def _named(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, dict) and "name" in entry for entry in value)
    )

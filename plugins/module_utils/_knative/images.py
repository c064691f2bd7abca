"""The container images that objects name, and other references in their place.

Beside the containers of pod templates, Knative's releases name images in environment variables of controllers,
which start pods of their own with them, in ConfigMaps, and in Image objects for caches on nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
#: Takes a reference as it is written, returns the one to write.
Instead = Callable[[str], str]

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
#: What is surely a reference wherever it is written: with a registry, and with a tag or digest.
_REFERENCE = re.compile(
    r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d+)?"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
)


def references(definition: Object) -> list[str]:
    """Return the image references in an object, as they are written, in order, each once."""
    found: dict[str, None] = {}

    def note(reference: str) -> str:
        found[reference] = None
        return reference

    replaced(definition, note)
    return list(found)


def replaced(definition: Object, instead: Instead) -> Object:
    """Return an object with another reference in place of each image reference in it."""
    kind = definition["kind"]
    if kind == "CustomResourceDefinition":
        return definition
    if kind == "ConfigMap":
        data = definition.get("data") or {}
        return definition | ({"data": _texts(data, instead)} if data else {})
    if kind == "Image":  # caching.internal.knative.dev
        return definition | {"spec": _with_image(definition.get("spec") or {}, instead)}
    changed: Object = _walk(definition, instead)
    return changed


def _walk(value: Any, instead: Instead) -> Any:
    """Return the value with the images of all containers below it changed."""
    if isinstance(value, list):
        return [_walk(entry, instead) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [_container(one, instead) for one in item]
        if key in _CONTAINERS and isinstance(item, list)
        else _walk(item, instead)
        for key, item in value.items()
    }


def _container(container: Any, instead: Instead) -> Any:
    if not isinstance(container, dict):
        return container
    changed = _with_image(container, instead)
    if isinstance(container.get("env"), list):
        changed["env"] = [
            _texts(entry, instead) if isinstance(entry, dict) else entry
            for entry in container["env"]
        ]
    return changed


def _with_image(value: Object, instead: Instead) -> Object:
    image = value.get("image")
    return value | ({"image": instead(image)} if isinstance(image, str) and image else {})


def _texts(values: Object, instead: Instead) -> Object:
    """Return a mapping with those of its values changed that are references."""
    return {
        key: instead(value) if isinstance(value, str) and is_reference(value) else value
        for key, value in values.items()
    }


def is_reference(text: str) -> bool:
    """Return whether a text can be nothing but an image reference: with a registry and a tag or digest."""
    tail = text.rpartition("/")[2]
    return (":" in tail or "@" in tail) and _REFERENCE.fullmatch(text) is not None

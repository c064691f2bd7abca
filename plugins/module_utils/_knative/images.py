"""The container images that objects name, and other references in their place.

Beside the containers of pod templates, Knative's releases name images in environment variables of controllers,
which start pods of their own with them, in ConfigMaps, and in Image objects for caches on nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Source

Object = dict[str, Any]
#: Takes a reference as it is written, returns the one to write.
Replace = Callable[[str], str]

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
#: What is surely a reference wherever it is written: with a registry, and with a tag or digest.
_REFERENCE = re.compile(
    r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d+)?"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
)


def named_by(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return each image reference, as it is written, with the objects that name it."""
    found: dict[str, list[str]] = {}
    for source in sources:
        definition = source.definition
        name = f"{definition['kind']} {definition['metadata']['name']}"

        def note(reference: str, name: str = name) -> str:
            names = found.setdefault(reference, [])
            if name not in names:
                names.append(name)
            return reference

        with_images(definition, note)
    return found


def replaced(sources: Iterable[Source], images: Mapping[str, str]) -> list[Source]:
    """Return the sources with other references in place of those that are keys of `images`."""
    return [
        replace(
            source,
            definition=with_images(source.definition, lambda found: images.get(found, found)),
        )
        for source in sources
    ]


def with_images(definition: Object, change: Replace) -> Object:
    """Return an object with each image reference in it changed."""
    kind = definition["kind"]
    if kind == "CustomResourceDefinition":
        return definition
    if kind == "ConfigMap":
        data = definition.get("data") or {}
        return definition | ({"data": _texts(data, change)} if data else {})
    if kind == "Image":  # caching.internal.knative.dev
        spec = definition.get("spec") or {}
        return definition | {"spec": _with_image(spec, change)}
    changed: Object = _walk(definition, change)
    return changed


def _walk(value: Any, change: Replace) -> Any:
    """Return the value with the images of all containers below it changed."""
    if isinstance(value, list):
        return [_walk(entry, change) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [_container(one, change) for one in item]
        if key in _CONTAINERS and isinstance(item, list)
        else _walk(item, change)
        for key, item in value.items()
    }


def _container(container: Any, change: Replace) -> Any:
    if not isinstance(container, dict):
        return container
    changed = _with_image(container, change)
    if isinstance(container.get("env"), list):
        changed["env"] = [
            _texts(entry, change) if isinstance(entry, dict) else entry
            for entry in container["env"]
        ]
    return changed


def _with_image(value: Object, change: Replace) -> Object:
    image = value.get("image")
    return value | ({"image": change(image)} if isinstance(image, str) and image else {})


def _texts(values: Object, change: Replace) -> Object:
    """Return a mapping with those of its values changed that are references."""
    return {
        key: change(value) if isinstance(value, str) and is_reference(value) else value
        for key, value in values.items()
    }


def is_reference(text: str) -> bool:
    """Return whether a text can be nothing but an image reference: with a registry and a tag or digest."""
    tail = text.rpartition("/")[2]
    return (":" in tail or "@" in tail) and _REFERENCE.fullmatch(text) is not None

"""The shape that an answer of Google's has to have, by what was requested.

An answer of another shape comes from something between: a proxy's page, a captive portal, a body that
was cut. It is an error and never an empty result. Contract: Google's discovery documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._http.client import Answer
from .errors import UnexpectedAnswer

Json = dict[str, Any]

#: What besides its items a page of a list may hold.
LIST_KEYS = frozenset({"nextPageToken", "totalSize", "unreachable", "missingZones"})
#: The fields (with text) that every object has of the lists read here, by the key of the list.
_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("name", "email", "uniqueId"),
    "clusters": ("name", "location", "status"),
    "repositories": ("name", "format"),
    "secrets": ("name", "etag"),
    "services": ("name", "state"),
    "versions": ("name", "state", "createTime", "etag"),
}
#: Method, service and path -> the fields (with text) of the answer. The first match decides.
_FIELDS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), fields)
    for pattern, fields in (
        (r"\w+ .*:[gs]etIamPolicy", ("etag",)),
        (r"GET .*:batchGet", ()),
        # google.protobuf.Empty
        (r"DELETE .*/secrets/[^/]+|(DELETE|POST) .*/serviceAccounts/[^/]+", ()),
        (r"(GET|PATCH) .*/secrets/[^/:]+|POST .*/secrets", _OBJECTS["secrets"]),
        (
            r"\w+ .*/secrets/[^/]+(/versions/[^/:]+|.*:(enable|disable|destroy|addVersion))",
            _OBJECTS["versions"],
        ),
        (r"GET container .*/clusters/[^/]+", _OBJECTS["clusters"]),
        (r"GET container .*/serverConfig", ("defaultClusterVersion",)),
        (
            r"\w+ container .*",
            ("name", "status"),
        ),
        (r"(GET|PATCH) .*/repositories/[^/]+", _OBJECTS["repositories"]),
        (r"GET .*/services/[^/]+", (*_OBJECTS["services"], "parent")),
        (r"(GET .*/serviceAccounts/[^/]+|POST .*/serviceAccounts)", _OBJECTS["accounts"]),
        (r".*", ("name",)),
    )
)


def check(called: str, request: str, answer: Answer, items: str | None) -> Json:
    """Return the JSON of an answer 2xx, as the contract of what was `called` has it.

    Args:
        called: Method, service and path, for example `GET iam v1/projects/p/serviceAccounts`.
        request: Method and URL, for messages.
        items: The key of the items where a list was requested.

    Raises:
        NoAnswer: The answer is not JSON, or was cut.
        UnexpectedAnswer: The answer has another shape.
    """
    if not 200 <= answer.status < 300:
        where = answer.headers.get("Location", "nowhere")
        raise UnexpectedAnswer(request, f"a redirect (HTTP {answer.status}) to {where}")
    body = answer.json
    if not isinstance(body, dict):
        raise UnexpectedAnswer(request, f"{_start(body)} in place of a JSON object")
    if items is not None:
        _check_page(request, body, items)
        return body
    fields = next(fields for pattern, fields in _FIELDS if pattern.fullmatch(called))
    if not _has(body, fields):
        raise UnexpectedAnswer(
            request, f"{_start(body)} in place of one with {' and '.join(fields)}"
        )
    if "etag" in fields and "name" not in fields:
        _check_bindings(request, body)
    return body


def _has(value: object, fields: tuple[str, ...]) -> bool:
    """Return whether this is an object with text in all these fields."""
    return isinstance(value, Mapping) and all(
        isinstance(value.get(field), str) and value[field] for field in fields
    )


def _check_page(request: str, body: Json, items: str) -> None:
    """Check one page of a list: without items it is {}, with other keys it is not this list."""
    foreign = sorted(set(body) - LIST_KEYS - {items})
    if foreign:
        raise UnexpectedAnswer(request, f"{_start(body)} in place of a list of {items}")
    found = body.get(items, [])
    if not isinstance(found, list) or not all(_has(item, _OBJECTS[items]) for item in found):
        fields = " and ".join(_OBJECTS[items])
        raise UnexpectedAnswer(request, f"{items} that are not all objects with {fields}")
    if not isinstance(body.get("nextPageToken", ""), str):
        raise UnexpectedAnswer(request, "a nextPageToken that is not text")


def _check_bindings(request: str, policy: Json) -> None:
    bindings = policy.get("bindings", [])
    if not isinstance(bindings, list) or not all(map(_is_binding, bindings)):
        raise UnexpectedAnswer(request, "bindings that are not a list of roles with members")


def _is_binding(binding: object) -> bool:
    if not isinstance(binding, Mapping) or not isinstance(binding.get("role"), str):
        return False
    members = binding.get("members", [])
    return isinstance(members, list) and all(isinstance(member, str) for member in members)


def _start(body: Any) -> str:
    """Return what came instead, without values."""
    if isinstance(body, dict):
        return f"an object with {', '.join(sorted(body)[:5]) or 'nothing in it'}"
    return f"JSON of the type {type(body).__name__}"

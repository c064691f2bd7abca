"""Lists: selectors, paging, resourceVersion semantics, and the bytes of the answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from streamops_sandbox.kube import errors, selectors
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Collection, Stored

Json = dict[str, Any]

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter."
)


@dataclass(slots=True)
class Selection:
    """Which objects a list, watch or deletecollection is about."""

    namespace: str
    labels: selectors.LabelSelector
    fields: selectors.FieldSelector

    def matches(self, stored: Stored) -> bool:
        """Whether an object is selected; its namespace is checked elsewhere."""
        if self.labels and not self.labels.matches(stored.labels):
            return False
        return not self.fields or self.fields.matches(stored.field)


def selection(
    query: Mapping[str, str], resource: Resource, namespace: str, name: str = ""
) -> Selection:
    """Read the selectors of a query; raises a 400."""
    text = query.get("fieldSelector", "")
    if name:
        text = f"metadata.name={name}" + (f",{text}" if text else "")
    what = f'"{resource.group}/{resource.version}, Kind={resource.kind}"'.replace('"/', '"')
    return Selection(
        namespace,
        selectors.parse_labels(query.get("labelSelector", "")),
        selectors.parse_fields(text, resource.selectable_fields, what=what),
    )


@dataclass(slots=True)
class Page:
    """One answer to a list request."""

    items: list[Stored]
    revision: int
    next: str = ""
    remaining: int | None = None


def page(
    collection: Collection, chosen: Selection, query: Mapping[str, str], revision: int
) -> Page:
    """The objects a list request asks for; raises a 400 or 410."""
    limit = number(query, "limit")
    _check_match(query)
    token = query.get("continue", "")
    start: tuple[str, str] | None = None
    exact: int | None = None
    if token:
        exact, start = _read_token(token)
    elif query.get("resourceVersionMatch") == "Exact":
        exact = number(query, "resourceVersion")
    elif number(query, "resourceVersion") > revision:
        raise _too_large(number(query, "resourceVersion"), revision)
    if exact is None or exact == revision:
        candidates = list(collection.items(chosen.namespace))
    else:
        found = collection.snapshot(exact)
        if found is None:
            raise errors.expired(_CONTINUE_EXPIRED)
        candidates = [item for item in found if chosen.namespace in ("", item.namespace)]
        revision = exact
    if start is not None:
        candidates = [item for item in candidates if (item.namespace, item.name) > start]
    if chosen.labels or chosen.fields:
        candidates = [item for item in candidates if chosen.matches(item)]
    if not limit or len(candidates) <= limit:
        return Page(candidates, revision)
    last = candidates[limit - 1]
    remaining = None if chosen.labels or chosen.fields else len(candidates) - limit
    return Page(candidates[:limit], revision, _make_token(revision, last), remaining)


def _check_match(query: Mapping[str, str]) -> None:
    match, field = query.get("resourceVersionMatch"), "resourceVersionMatch"
    if not match:
        return
    if match not in ("Exact", "NotOlderThan"):
        listed = '"Exact", "NotOlderThan"'
        cause = f'Unsupported value: "{match}": supported values: {listed}'
        kind = "FieldValueNotSupported"
    elif not query.get("resourceVersion"):
        cause = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        kind = "FieldValueForbidden"
    else:
        return
    raise errors.invalid("meta.k8s.io", "ListOptions", "", [errors.cause(kind, field, cause)])


def number(query: Mapping[str, str], key: str) -> int:
    """A parameter that is a number, 0 where it is not there; raises a 400."""
    text = query.get(key) or "0"
    if not text.isdigit():
        raise errors.bad_request(
            f'invalid {key}: strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def _too_large(wanted: int, revision: int) -> errors.StatusError:
    return errors.StatusError(
        504,
        "Timeout",
        f"Too large resource version: {wanted}, current: {revision}",
        details={
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
    )


def _make_token(revision: int, last: Stored) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": revision, "start": [last.namespace, last.name]}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["start"]
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error


def list_metadata(result: Page) -> Json:
    """`metadata` of a list."""
    metadata: Json = {"resourceVersion": str(result.revision)}
    if result.next:
        metadata["continue"] = result.next
    if result.remaining:
        metadata["remainingItemCount"] = result.remaining
    return metadata


def list_body(raws: list[bytes], result: Page, resource: Resource) -> bytes:
    """A list's JSON, put together from the objects' own."""
    head = orjson.dumps(
        {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": list_metadata(result),
        }
    )
    return b'%s,"items":[%s]}' % (head[:-1], b",".join(raws))

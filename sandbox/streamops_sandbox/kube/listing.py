"""Lists: selectors, paging, resourceVersion semantics, and the bytes of the answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from streamops_sandbox import label_selectors
from streamops_sandbox.kube import errors, selectors
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Collection, Stored
from streamops_sandbox.objects import Object

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter."
)


@dataclass(slots=True)
class Selection:
    """Which objects a list, watch or deletecollection is about."""

    namespace: str
    labels: Object
    fields: selectors.FieldTerms

    def matches(self, stored: Stored) -> bool:
        """Whether an object is selected; its namespace is checked elsewhere."""
        if not label_selectors.matches(self.labels, stored.labels):
            return False
        return all((stored.field(field) == value) is equal for field, equal, value in self.fields)


def selection(
    query: Mapping[str, str], resource: Resource, namespace: str, name: str = ""
) -> Selection:
    """Read the selectors of a query; raises a 400."""
    text = query.get("fieldSelector", "")
    if name:
        text = f"metadata.name={name}" + (f",{text}" if text else "")
    return Selection(
        namespace,
        selectors.parse_labels(query.get("labelSelector", "")),
        selectors.parse_fields(text, resource),
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
    limit = max(integer(query, "limit"), 0)
    check_options(query)
    token = query.get("continue", "")
    start: tuple[str, str] | None = None
    exact: int | None = None
    if token:
        if query.get("resourceVersion", "0") != "0":
            why = "specifying resource version is not allowed when using continue"
            raise errors.bad_request(why)
        exact, start = _read_token(token)
    elif query.get("resourceVersionMatch") == "Exact":
        exact = version(query, of_list=True)
    elif (wanted := version(query, of_list=True)) > revision:
        raise too_large(wanted, revision)
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


def check_options(query: Mapping[str, str], *, watch: bool = False) -> None:
    """Refuse list options that do not fit each other; raises a 422."""
    field, initial = "resourceVersionMatch", query.get("sendInitialEvents")
    match, version = query.get(field), query.get("resourceVersion")
    found = Causes()
    if initial is not None and not watch:
        found.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    elif initial is not None and match != "NotOlderThan":
        found.forbidden(field, f"sendInitialEvents requires setting {field} to NotOlderThan")
        if match:
            found.unsupported(field, match, ("NotOlderThan",))
    elif watch and match and initial is None:
        found.forbidden(
            field, f"{field} is forbidden for watch unless sendInitialEvents is provided"
        )
    elif match and not watch and match not in ("Exact", "NotOlderThan"):
        found.unsupported(field, match, ("Exact", "NotOlderThan", ""))
    elif match and not watch and not version:
        found.forbidden(field, f"{field} is forbidden unless resourceVersion is provided")
        if query.get("continue"):
            found.forbidden(field, f"{field} is forbidden when continue is provided")
    elif match == "Exact" and version == "0" and not watch:
        found.forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"')
    if found:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", found)


def integer(query: Mapping[str, str], key: str) -> int:
    """Return a parameter that is a number, 0 where it is not there; raises a 400."""
    text = query.get(key) or "0"
    if not text.removeprefix("-").isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def version(query: Mapping[str, str], *, of_list: bool = False) -> int:
    """Return the resource version of a query, 0 where it is not there; raises a 500, or a 400 for a list."""
    text = query.get("resourceVersion") or "0"
    if text.isdigit():
        return int(text)
    syntax = f'strconv.ParseUint: parsing "{text}": invalid syntax'
    why = f'resourceVersion: Invalid value: "{text}": {syntax}'
    if of_list:
        raise errors.bad_request(f"invalid resource version: {why}")
    raise errors.StatusError(500, "", why)


def too_large(wanted: int, revision: int) -> errors.StatusError:
    """504: a resource version is from the future."""
    why = "Too large resource version"
    cause = {"reason": "ResourceVersionTooLarge", "message": why}
    text = f"Timeout: {why}: {wanted}, current: {revision}"
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return errors.StatusError(504, "Timeout", text, details=details)


def _make_token(revision: int, last: Stored) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": revision, "start": [last.namespace, last.name]}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["start"]
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        why = f"invalid continue token: continue key is not valid: {error}"
        raise errors.bad_request(why) from error


def list_metadata(result: Page) -> Object:
    """`metadata` of a list."""
    metadata: Object = {"resourceVersion": str(result.revision)}
    if result.next:
        metadata["continue"] = result.next
    if result.remaining:
        metadata["remainingItemCount"] = result.remaining
    return metadata


def list_body(raws: list[bytes], result: Page, resource: Resource) -> bytes:
    """Return a list's JSON, put together from the objects' own.

    Items of a built-in type do not state apiVersion and kind.
    """
    if not resource.custom:
        type_ = orjson.dumps({"apiVersion": resource.api_version, "kind": resource.kind})
        start = type_[:-1] + b","
        raws = [
            b"{" + raw[len(start) :] if raw.startswith(start) else _without_type(raw)
            for raw in raws
        ]
    head: Object = {"kind": resource.list_kind, "apiVersion": resource.api_version}
    head["metadata"] = list_metadata(result)
    return b'%s,"items":[%s]}' % (orjson.dumps(head)[:-1], b",".join(raws))


def _without_type(raw: bytes) -> bytes:
    obj = orjson.loads(raw)
    return orjson.dumps({key: obj[key] for key in obj if key not in ("apiVersion", "kind")})

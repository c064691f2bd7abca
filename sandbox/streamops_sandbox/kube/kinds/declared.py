"""Defaults and rules that are declared in `kind_rules.yaml`, which says what its words mean."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from streamops_sandbox.kube import codec, errors, names
from streamops_sandbox.kube.kinds.causes import Causes, join
from streamops_sandbox.objects import Object

#: Checks a value (None where there is none) at a field of an object, or of the shape it is in.
Function = Callable[[Any, str, Causes, Any], None]
#: Fills in what takes code, in place.
Filler = Callable[[Object], None]
Step = tuple[tuple[str, ...], bool]

_FILE = "kind_rules.yaml"
_FUNCTIONS: dict[str, Function] = {}
_FILLERS: dict[str, Filler] = {}


def function(check: Function) -> Function:
    """Make a check known to `call` in rules, by its name."""
    _FUNCTIONS[check.__name__] = check
    return check


def filler(fill_in: Filler) -> Filler:
    """Make a function known to `call` in defaults, by its name."""
    _FILLERS[fill_in.__name__] = fill_in
    return fill_in


def kinds() -> dict[str, Object]:
    """Return what is declared of each collection."""
    found: dict[str, Object] = codec.data_file(_FILE)["kinds"]
    return found


@cache
def _steps(path: str) -> tuple[Step, ...]:
    parts = path.split(".") if path else []
    return tuple((tuple(part.removesuffix("[]").split("|")), part.endswith("[]")) for part in parts)


def _places(obj: Any, steps: tuple[Step, ...], field: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield (holder, key, field) of the places a path leads to; missing objects count as empty."""
    if not isinstance(obj, dict):
        return
    (keys, items), rest = steps[0], steps[1:]
    for key in keys:
        here = join(field, key)
        if items:
            for index, item in enumerate(obj.get(key) or []):
                if rest:
                    yield from _places(item, rest, f"{here}[{index}]")
                else:
                    yield obj[key], index, f"{here}[{index}]"
        elif rest:
            child = obj.get(key)
            yield from _places({} if child is None else child, rest, here)
        else:
            yield obj, key, here


def _is_absent(obj: Object, steps: tuple[Step, ...]) -> bool:
    return all(obj.get(key) is None for key in steps[0][0])


def _value(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list) else holder.get(key)


def _bases(obj: Any, block: Object, field: str, root: Any) -> Iterator[tuple[Any, str]]:
    """Yield the objects a block is about, with their fields."""
    steps = _steps(block.get("at", ""))
    if not isinstance(obj, dict) or (steps and _is_absent(obj, steps)):
        return
    places = _places(obj, steps, field) if steps else [({"": obj}, "", field)]
    for holder, key, here in places:
        base = _value(holder, key)
        if isinstance(base, dict) and all(
            _holds(root if path.startswith("/") else base, path.removeprefix("/"), wanted)
            for path, wanted in block.get("when", {}).items()
        ):
            yield base, here


def _holds(obj: Object, path: str, wanted: Any) -> bool:
    if isinstance(wanted, dict) and "not" in wanted:
        return not _holds(obj, path, wanted["not"])
    found = values(obj, path)
    if isinstance(wanted, dict):
        ((word, other),) = wanted.items()
        is_path = isinstance(other, str) and word != "form"
        bound = values(obj, other)[0] if is_path else other
        return any(_COMPARISONS[word](value, bound) for value in found)
    wanted = wanted if isinstance(wanted, list) else [wanted]
    return any(
        _STATES[one](value) if one in _STATES else value == one for value in found for one in wanted
    )


def values(obj: Object, path: str) -> list[Any]:
    """Return what is at the places a path leads to."""
    return [_value(holder, key) for holder, key, _ in _places(obj, _steps(path), "")]


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "above": lambda value, bound: (value or 0) > (bound or 0),
    "below": lambda value, bound: (value or 0) < (bound or 0),
    "unlike": lambda value, other: bool(value) and value != other,
    "form": lambda value, form: bool(re.fullmatch(form, value or "")),
}
_STATES: dict[Any, Callable[[Any], bool]] = {
    "<set>": lambda value: value is not None,
    "<unset>": lambda value: value is None,
    "<filled>": bool,
    "<empty>": lambda value: not value,
    "<several>": lambda value: len(value or ()) > 1,
}


def _entries(block: Object) -> Iterator[tuple[str, Any]]:
    return (item for item in block.items() if item[0] not in ("at", "when", "use", "call"))


def _shape(name: str, part: str) -> list[Object]:
    found: list[Object] = codec.data_file(_FILE)["shapes"][name].get(part, [])
    return found


def fill(obj: Any, blocks: list[Object]) -> None:
    """Fill in defaults, in place."""
    for block in blocks:
        for base, _ in _bases(obj, block, "", obj):
            if "use" in block:
                fill(base, _shape(block["use"], "defaults"))
            if "call" in block:
                _FILLERS[block["call"]](base)
            for path, value in _entries(block):
                for holder, key, _ in _places(base, _steps(path), ""):
                    if holder.get(key) is None:
                        holder[key] = copy.deepcopy(value)


def check(obj: Any, blocks: list[Object], found: Causes, field: str = "", root: Any = None) -> None:
    """Collect the violations of rules; `field` is the object's place, for messages."""
    root = obj if root is None else root
    for block in blocks:
        for base, here in _bases(obj, block, field, root):
            if "use" in block:
                check(base, _shape(block["use"], "rules"), found, here, root)
            for steps, shown, rules, of_missing in _compiled(block):
                if not steps:
                    _apply(rules, base, _reported(shown, here, here), found, root)
                elif of_missing or not _is_absent(base, steps):
                    for holder, key, place in _places(base, steps, here):
                        reported = _reported(shown, here, place) if shown else place
                        _apply(rules, _value(holder, key), reported, found, root)


def check_shape(obj: Any, shape: str, found: Causes, field: str) -> None:
    """Collect the violations of a shape's rules, of which `obj` is the root."""
    check(obj, _shape(shape, "rules"), found, field)


def _apply(rules: list[tuple[str, Any]], value: Any, field: str, found: Causes, root: Any) -> None:
    before = len(found)
    for word, argument in rules:
        if len(found) > before:
            return
        if word == "call":
            _FUNCTIONS[argument](value, field, found, root)
        elif word in ("use", "shape"):
            if isinstance(value, dict):
                check(
                    value, _shape(argument, "rules"), found, field, root if word == "use" else None
                )
        elif value is not None or word in _OF_MISSING:
            _CHECKS[word](value, field, found, argument)


def _reported(shown: str, here: str, place: str) -> str:
    """Return the field that is named in messages; `here` is the block's, `place` the value's own."""
    if shown.startswith("[]"):
        return here.rpartition("[")[0] + shown[2:]
    if shown.endswith("[]"):
        return join(here, shown[:-2]) + place[place.rindex("[") :]
    return join(here, shown) if shown.strip(".") else here if shown else place


Compiled = tuple[tuple[Step, ...], str, list[tuple[str, Any]], bool]
#: What `_compiled` has made of a block of the document, by its identity.
_COMPILED: dict[int, list[Compiled]] = {}


def _compiled(block: Object) -> list[Compiled]:
    """Return a block's paths, the fields named instead, their checks, and whether one is about a missing value."""
    found = _COMPILED.get(id(block))
    if found is None:
        found = _COMPILED[id(block)] = []
        for place, given in _entries(block):
            path, _, shown = place.partition(" as ")
            listed = given if isinstance(given, list) else [given]
            rules = [
                (one, None) if isinstance(one, str) else next(iter(one.items())) for one in listed
            ]
            of_missing = any(word in _OF_MISSING for word, _ in rules)
            found.append((_steps("" if path == "." else path), shown, rules, of_missing))
    return found


def _either(holds: Callable[[Any, Any], object], empty: Any = None) -> Function:
    """Return the check of a bound; its argument is the bound, if there is one, and what is wrong where it is broken.

    `empty` is what is checked and shown of a missing value.
    """

    def check_bound(value: Any, field: str, found: Causes, argument: Any) -> None:
        *bound, why = argument if isinstance(argument, list) else [argument]
        value = empty if value is None else value
        if not holds(value, bound[0] if len(bound) == 1 else bound):
            found.invalid(field, value, why)

    return check_bound


def _lacks(absent: Callable[[Any], bool]) -> Function:
    """Return the check of a value that has to be there, whose argument is why."""
    return lambda value, field, found, why: (
        found.required(field, why or "") if absent(value) else None
    )


def _one_of(value: Any, field: str, found: Causes, allowed: list[str]) -> None:
    if value not in allowed:
        found.unsupported(field, value, allowed)


def _one_key(value: Object, field: str, found: Causes, argument: Any) -> None:
    keys, none, several = argument
    given = [key for key in keys if value.get(key) is not None]
    if not given:
        found.required(field, none)
    for key in given[1:]:
        found.forbidden(f"{field}.{key}", several)


def ip(value: Any, field: str, found: Causes, why: str | None = None) -> None:
    """Check an address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        found.invalid(field, value, why or text)


def port(value: Any, field: str, found: Causes, _: Any = None) -> None:
    """Check a port: a number, or a name."""
    if isinstance(value, str) and value:
        found.problems(field, value, names.port_name(value))
    else:
        found.between(field, value if isinstance(value, int) else 0, 1, 65535)


def _named(problems: Callable[[str], list[str]]) -> Function:
    return lambda value, field, found, _: found.problems(
        field, value, problems(value) if value else []
    )


def _is_invalid(value: Any, field: str, found: Causes, argument: Any) -> None:
    why, *shown = argument if isinstance(argument, list) else [argument]
    if shown:
        found.invalid(field, _shown(value, shown[0]), why)
    elif isinstance(value, dict):
        found.append(errors.cause("FieldValueInvalid", field, f"Invalid value: {why}"))
    else:
        found.invalid(field, "" if value is None else value, why)


def _is_unsupported(value: Any, field: str, found: Causes, argument: Any) -> None:
    allowed, *fields = argument if isinstance(argument[0], list) else [argument]
    found.unsupported(field, _shown(value, fields[0]) if fields else value, allowed)


def _shown(value: Any, given: Any) -> Any:
    """Return what is shown of a wrong value: what is given, or of an object the fields that are listed."""
    if not isinstance(given, list):
        return given
    return {key[0].upper() + key[1:]: value.get(key) for key in given}


#: Checks that are about a value that is not there, too.
_OF_MISSING = frozenset(
    {"required", "missing", "choice", "port", "port_number", "absolute", "above_zero", "label_key",
     "is_required", "is_invalid", "is_forbidden", "is_unsupported", "call"}
)  # fmt: skip
_CHECKS: dict[str, Function] = {
    "required": _lacks(lambda value: not value),
    "missing": _lacks(lambda value: value is None),
    "unset": lambda _, field, found, why: found.forbidden(field, why),
    "absent": _either(lambda _, __: False),
    "is_required": _lacks(lambda _: True),
    "is_invalid": _is_invalid,
    "is_forbidden": lambda _, field, found, why: found.forbidden(field, why),
    "is_unsupported": _is_unsupported,
    "one_of": _one_of,
    "choice": lambda value, field, found, allowed: _one_of(value or "", field, found, allowed),
    "among": _either(lambda value, allowed: value in allowed),
    "none_of": _either(lambda value, refused: value not in refused),
    "one_key": _one_key,
    "unique": lambda items, field, found, key: found.unique(
        f"{field}[].{key}", [item.get(key) for item in items]
    ),
    "distinct": lambda items, field, found, key: found.unique(
        f"{field}[]", [item.get(key) for item in items]
    ),
    "least": lambda value, field, found, limit: (
        found.invalid(field, value, f"must be greater than or equal to {limit}")
        if isinstance(value, int) and value < limit
        else None
    ),
    "above_zero": _either(lambda value, _: value > 0, empty=0),
    "positive": _either(lambda value, _: value > 0),
    "at_most": _either(lambda value, limit: value <= limit),
    "within": _either(lambda value, bounds: bounds[0] <= value <= bounds[1]),
    "between": lambda value, field, found, bounds: found.between(field, value, *bounds),
    "form": _either(
        lambda value, form: not isinstance(value, str) or bool(re.fullmatch(form, value))
    ),
    "not_form": _either(
        lambda value, form: not isinstance(value, str) or not re.fullmatch(form, value)
    ),
    "longest": _either(lambda value, limit: len(value) <= limit),
    "single": lambda value, field, found, argument: (
        found.invalid(field, "", argument[1])
        if sum(value.get(key) is not None for key in argument[0]) > 1
        else None
    ),
    "absolute": _either(lambda value, _: value.startswith("/"), empty=""),
    "relative": lambda value, field, found, _: relative_path(value, field, found),
    "ip": ip,
    "port": port,
    "port_number": lambda value, field, found, _: found.between(field, value or 0, 1, 65535),
    "requirement": lambda value, field, found, _: found.requirement(field, value),
    "labels": lambda value, field, found, _: found.labels(field, value),
    "selector": lambda value, field, found, _: found.selector(field, value),
    "network": _named(names.network),
    "qualified": _named(names.label_key_problems),
    "label_key": lambda value, field, found, _: found.problems(
        field, value or "", names.label_key_problems(value or "")
    ),
    "label_value": _named(names.label_value_problems),
    "dns_label": _named(names.dns_label),
    "subdomain": _named(names.subdomain),
    "host": _named(lambda text: names.subdomain(text.removeprefix("*."))),
    "search": _named(lambda text: names.subdomain(text.removesuffix(".").replace("_", "-"))),
    "port_name": _named(names.port_name),
    "config_key": _named(names.config_key),
    "path_segment": _named(names.path_segment),
}


def relative_path(path: str, field: str, found: Causes) -> None:
    """Check a path that has to stay below another."""
    if path.startswith("/"):
        found.invalid(field, path, "must be a relative path")
    if ".." in path.split("/"):
        found.invalid(field, path, "must not contain '..'")

"""Defaults and rules that are declared in `kind_rules.yaml`, which says what its words mean."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes, join
from streamops_sandbox.objects import Object

#: Checks a value (None where there is none) at a field of an object, or of the shape it is in.
Function = Callable[[Any, str, Causes, Any], None]
#: Fills in what takes code, in place.
Filler = Callable[[Object], None]
Step = tuple[tuple[str, ...], bool]

_FILE = Path(__file__).parents[1] / "kind_rules.yaml"
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


@lru_cache(maxsize=1)
def _document() -> Object:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Object = yaml.load(_FILE.read_text(), Loader=loader)  # noqa: S506 - a safe loader
    return document


def kinds() -> dict[str, Object]:
    """Return what is declared of each collection."""
    found: dict[str, Object] = _document()["kinds"]
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


def _value(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list) else holder.get(key)


def _bases(obj: Any, block: Object, field: str) -> Iterator[tuple[Any, str]]:
    """Yield the objects a block is about, with their fields."""
    steps = _steps(block.get("at", ""))
    places = _places(obj, steps, field) if steps else [({"": obj}, "", field)]
    for holder, key, here in places:
        base = _value(holder, key)
        if isinstance(base, dict) and all(
            _holds(base, *item) for item in block.get("when", {}).items()
        ):
            yield base, here


def _holds(obj: Object, path: str, wanted: Any) -> bool:
    values = [_value(holder, key) for holder, key, _ in _places(obj, _steps(path), "")]
    return any(value in wanted if isinstance(wanted, list) else value == wanted for value in values)


def _entries(block: Object) -> Iterator[tuple[str, Any]]:
    return (item for item in block.items() if item[0] not in ("at", "when", "use", "call"))


def fill(obj: Any, blocks: list[Object]) -> None:
    """Fill in defaults, in place."""
    for block in blocks:
        for base, _ in _bases(obj, block, ""):
            if "use" in block:
                fill(base, _document()["shapes"][block["use"]].get("defaults", []))
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
        for base, here in _bases(obj, block, field):
            if "use" in block:
                shape = _document()["shapes"][block["use"]].get("rules", [])
                check(base, shape, found, here, base if "at" in block else root)
            for path, checks in _entries(block):
                for holder, key, place in _places(base, _steps(path), here):
                    for one in checks if isinstance(checks, list) else [checks]:
                        _apply(one, _value(holder, key), place, found, root)


def check_shape(obj: Any, shape: str, found: Causes, field: str) -> None:
    """Collect the violations of a shape's rules."""
    check(obj, _document()["shapes"][shape]["rules"], found, field)


def _apply(rule: str | Object, value: Any, field: str, found: Causes, root: Any) -> None:
    word: str
    argument: Any
    word, argument = (rule, None) if isinstance(rule, str) else next(iter(rule.items()))
    if word == "call":
        _FUNCTIONS[argument](value, field, found, root)
    elif word in ("required", "missing"):
        if value is None or (word == "required" and not value):
            found.required(field, argument or "")
    elif word == "choice":
        if (value or "") not in argument:
            found.unsupported(field, value or "", argument)
    elif word == "above_zero":
        if (value or 0) <= 0:
            found.invalid(field, value or 0, argument)
    elif value is not None:
        _CHECKS[word](value, field, found, argument)


def _one_of(value: Any, field: str, found: Causes, argument: Any) -> None:
    if value not in argument:
        found.unsupported(field, value, argument)


def _least(value: Any, field: str, found: Causes, argument: Any) -> None:
    if isinstance(value, int) and value < argument:
        found.invalid(field, value, f"must be greater than or equal to {argument}")


def _positive(value: Any, field: str, found: Causes, argument: Any) -> None:
    if value <= 0:
        found.invalid(field, value, argument)


def ip(value: Any, field: str, found: Causes, _: Any = None) -> None:
    """Check an address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        found.invalid(field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _named(problems: Callable[[str], list[str]]) -> Function:
    return lambda value, field, found, _: found.problems(
        field, value, problems(value) if value else []
    )


#: Checks of a value that is there, by their word.
_CHECKS: dict[str, Function] = {
    "unset": lambda _, field, found, why: found.forbidden(field, why),
    "absent": lambda value, field, found, why: found.invalid(field, value, why),
    "at_most": lambda value, field, found, limit: (
        found.invalid(field, value, limit[1]) if value > limit[0] else None
    ),
    "one_of": _one_of,
    "least": _least,
    "positive": _positive,
    "ip": ip,
    "form": lambda value, field, found, form: (
        None if re.fullmatch(form[0], value) else found.invalid(field, value, form[1])
    ),
    "within": lambda value, field, found, bounds: (
        None if bounds[0] <= value <= bounds[1] else found.invalid(field, value, bounds[2])
    ),
    "unique": lambda items, field, found, key: found.unique(
        f"{field}[].{key}", [item.get(key) for item in items]
    ),
    "qualified": _named(names.label_key_problems),
    "between": lambda value, field, found, bounds: found.between(field, value, *bounds),
    "labels": lambda value, field, found, _: found.labels(field, value),
    "selector": lambda value, field, found, _: found.selector(field, value),
    "dns_label": _named(names.dns_label),
    "subdomain": _named(names.subdomain),
}

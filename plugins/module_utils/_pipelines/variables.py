"""Reads the variables of roles by their argument specifications, strictly and all at once.

What this accepts is what the roles use: numbers and booleans given as texts (`-e x=5`) are converted once,
and anything else of another type is refused. Ansible's own validation accepts more (a text where a list
belongs) without converting what the role then reads.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._module.suggestion import meant
from .formats import FORMATS

#: Prefixes that other software uses too: a foreign variable is refused only when it looks like a misspelling.
SHARED_PREFIXES = ("secrets_",)
#: Facts that roles set for those who come after them.
FACTS = ("knative_eventing_endpoint",)
#: What a pipeline is made of has one format, as a flat variable and as a key of an entry.
PIPELINES, PIPELINE = "twitter_pipeline_pipelines[].", "twitter_pipeline_"

TRUE = ("true", "yes", "on", "1", "y", "t")
FALSE = ("false", "no", "off", "0", "n", "f")
SHOWN = 60  # characters of a value in a message

Options = Mapping[str, Mapping[str, Any]]
_OMITTED = object()


@dataclass
class Reading:
    """Variables in the types of their specification, and what is wrong with them, a sentence each."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(options: Options, given: Mapping[str, Any]) -> Reading:
    """Read the `given` variables of one role.

    `options` is `argument_specs.main.options` of the role; values are templated.
    """
    reading = Reading()
    for name, spec in options.items():
        if name not in given:
            continue
        value = _Reader(reading.problems).read(spec, given[name], name)
        if value is not _OMITTED:
            reading.values[name] = value
    return reading


def plain(value: Any) -> Any:
    """Return a templated value without Ansible's own types; a vaulted text is decrypted."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return "".join(list(str(value)))


class _Reader:
    def __init__(self, problems: list[str]) -> None:
        self._problems = problems

    def read(self, spec: Mapping[str, Any], value: Any, name: str) -> Any:
        """Return the value in its type, or _OMITTED with the problem noted."""
        kind = spec.get("type", "str")
        secret = bool(spec.get("no_log"))
        if value is None:
            return self._refuse(name, None, f"is empty; give {_article(kind)}, or leave it out")
        typed, wanted = _CONVERSIONS[kind](value)
        if wanted:
            return self._refuse(name, None if secret else value, f"is not {wanted}")
        if kind == "dict" and "options" in spec:
            typed = self._mapping(spec["options"], typed, name)
        elif kind == "list":
            typed = self._list(spec, typed, name)
        choices = spec.get("choices") if kind != "list" else None  # of a list, those of its entries
        if choices and typed not in choices:
            return self._refuse(name, typed, f"is not valid; {meant(typed, choices)}")
        self._check_format(name, typed, secret=secret)
        return typed

    def _list(self, spec: Mapping[str, Any], items: list[Any], name: str) -> list[Any]:
        entry = {"type": spec.get("elements", "raw"), "options": spec.get("options")}
        entry = {key: item for key, item in entry.items() if item is not None}
        entry["choices"] = spec.get("choices")
        read = [self.read(entry, item, f"{name}[{index}]") for index, item in enumerate(items)]
        return [item for item in read if item is not _OMITTED]

    def _mapping(self, options: Options, given: Mapping[str, Any], name: str) -> dict[str, Any]:
        found = {}
        for key, value in given.items():
            if key not in options:
                self._problems.append(f"{name}.{key}: unknown key; {meant(key, options)}")
                continue
            typed = self.read(options[key], value, f"{name}.{key}")
            if typed is not _OMITTED:
                found[key] = typed
        for key, spec in options.items():
            if spec.get("required") and key not in given:
                self._problems.append(f"{name}.{key} is missing: {_sentence(spec)}")
        return found

    def _check_format(self, name: str, value: Any, *, secret: bool) -> None:
        canonical = re.sub(r"\[\d+\]", "[]", name)
        if canonical.startswith(PIPELINES):
            canonical = canonical.replace(PIPELINES, PIPELINE, 1)
        check = FORMATS.get(canonical)
        if check and (wanted := check(value)):
            self._refuse(name, None if secret else value, f"is not {wanted}")
        elif isinstance(value, dict) and (check := FORMATS.get(f"{canonical}.*")):
            for key, item in value.items():
                if wanted := check(item):
                    self._refuse(f"{name}.{key}", item, f"is not {wanted}")

    def _refuse(self, name: str, value: Any, said: str) -> Any:
        shown = f" {_shown(value)}" if value is not None else ""
        self._problems.append(f"{name}:{shown} {said}")
        return _OMITTED


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _sentence(spec: Mapping[str, Any]) -> str:
    """Return the first sentence of a description."""
    description = spec.get("description", "")
    text = description[0] if isinstance(description, list) else description
    return re.sub(r"[CVPOM]\((.*?)\)", r"\1", str(text)).partition(". ")[0]


def _article(kind: str) -> str:
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list, as [a, b]",
        "dict": "a mapping, as {key: value}",
    }.get(kind, "a text")


def _text(value: Any) -> tuple[Any, str]:
    if isinstance(value, str):
        return value, ""
    if isinstance(value, bool | int | float):
        return value, "a text: quote it"
    return value, "a text: give a single value"


def _path(value: Any) -> tuple[Any, str]:
    typed, wanted = _text(value)
    return typed, wanted if wanted else "" if "\0" not in typed else "a path"


def _boolean(value: Any) -> tuple[Any, str]:
    if isinstance(value, bool):
        return value, ""
    word = str(value).lower() if isinstance(value, str | int) else ""
    if word in TRUE or word in FALSE:
        return word in TRUE, ""
    return value, "true or false"


def _integer(value: Any) -> tuple[Any, str]:
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,18}", value.strip()):
        return int(value), ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value), ""
    return value, "a whole number"


def _number(value: Any) -> tuple[Any, str]:
    if isinstance(value, str) and re.fullmatch(
        r"\s*[-+]?[0-9.]{1,30}([eE][-+]?[0-9]{1,3})?\s*", value
    ):
        try:
            value = float(value)
        except ValueError:
            return value, "a number"
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value), ""
    return value, "a number"


def _sequence(value: Any) -> tuple[Any, str]:
    if isinstance(value, list):
        return value, ""
    example = f"[{value}]" if isinstance(value, str) and "," not in value else "[a, b]"
    return value, f'a list: write it as {example}; on the command line as -e \'{{"NAME": ["…"]}}\''


def _dictionary(value: Any) -> tuple[Any, str]:
    return value, "" if isinstance(value, dict) else "a mapping: write it as {key: value}"


def _raw(value: Any) -> tuple[Any, str]:
    if isinstance(value, str | dict):
        return value, ""
    return value, "a path or a mapping"


_CONVERSIONS = {
    "str": _text,
    "path": _path,
    "bool": _boolean,
    "int": _integer,
    "float": _number,
    "list": _sequence,
    "dict": _dictionary,
    "raw": _raw,
}


def unknown(role: str, options: Options, names: Iterable[str]) -> list[str]:
    """Return which of a host's variables are meant for a role that has no such variable, a sentence each."""
    prefix = f"{role}_"
    found = []
    for name in sorted(names):
        if name in options or name in FACTS or name.startswith("_"):
            continue
        ours = name.startswith(prefix)
        if not ours and not _resembles(name, prefix):
            continue
        close = difflib.get_close_matches(name, options, n=1, cutoff=0.8 if ours else 0.9)
        if close:
            found.append(f"{name}: the role {role} has no such variable; did you mean {close[0]}?")
        elif ours and prefix not in SHARED_PREFIXES:
            found.append(f"{name}: the role {role} has no such variable")
    return found


def _resembles(name: str, prefix: str) -> bool:
    """Return whether a name begins with almost the prefix, as twiter_pipeline_."""
    start = name[: len(prefix) + 1]
    return start[:1] == prefix[:1] and difflib.SequenceMatcher(None, start, prefix).ratio() > 0.8

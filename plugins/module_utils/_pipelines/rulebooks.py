"""Reasons why the role event_driven cannot run a rulebook, a sentence each.

`values` are its variables by their full names, in the types of their specification; those that are not set are
missing. Paths are relative to the current folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from .._module.suggestion import meant
from .._yaml import InvalidYaml, decode, documents
from .model import names_problems
from .rulebook_probe import PROBE_TYPE

PREFIX = "event_driven_"
COLLECTION = "streamops.knative"
#: Event sources that ansible-rulebook has itself.
BUILT_IN = ("eda.builtin", "ansible.builtin", "ansible.eda")
FULL_NAME = re.compile(r"[a-z_]\w*\.[a-z_]\w*\.\w+")
#: Keys of an entry of `sources` that are not the event source.
OF_A_SOURCE = ("name", "filters")

Values = Mapping[str, Any]


def problems(values: Values, rulebooks: Collection[str]) -> list[str]:
    """Return them all; `rulebooks` are the full names of this collection's."""
    given = {name.removeprefix(PREFIX): value for name, value in values.items()}
    found = names_problems(given, PREFIX, "the rulebook")
    if given.get("state") == "absent":
        return found
    if not given.get("image") and not given.get("registry"):
        found.append(
            f"{PREFIX}registry is empty: the registry and path that the image is pushed to, for example"
            f" registry.example.com/streamops; or set {PREFIX}image to one that exists"
        )
    if not given.get("broker"):
        found += [
            f"{PREFIX}{name}: without {PREFIX}broker there is no Trigger; name the Broker"
            for name in ("filters", "dead_letter")
            if given.get(name)
        ]
    return found + list(_rulebook(given, rulebooks))


def _rulebook(given: Values, rulebooks: Collection[str]) -> Iterator[str]:
    name, project = given.get("rulebook"), given.get("project")
    variable = f"{PREFIX}rulebook"
    if name is None or project is None:
        return  # its type is wrong
    if not name:
        yield (
            f"{variable} is empty: name one, for example {COLLECTION}.posts or a file of {PREFIX}project"
        )
    elif name.endswith((".yml", ".yaml")):
        if given.get("image"):
            return  # it is in that image, or it is not
        if not project:
            yield f"{variable}: '{name}' is a file: set {PREFIX}project to the folder that it is in"
        elif not (path := Path(project).expanduser() / name).is_file():
            yield f"{variable}: '{name}' is not in {PREFIX}project: there is no file {path}"
        else:
            yield from _content(path, given)
    elif not FULL_NAME.fullmatch(name):
        yield (
            f"{variable}: '{name}' is neither a full name, for example {COLLECTION}.posts, nor a .yml file"
            f" of {PREFIX}project"
        )
    elif name.startswith(f"{COLLECTION}.") and name not in rulebooks:
        yield f"{variable}: '{name}' is not a rulebook of this collection; {meant(name, rulebooks)}"
    elif missing := _missing(name, given):
        yield f"{variable}: '{name}': {missing}"


def _content(path: Path, given: Values) -> Iterator[str]:
    """Yield what is wrong with a rulebook of the project."""
    variable = f"{PREFIX}rulebook: {path}"
    try:
        text = decode(path.read_bytes())
        parsed = [document for _line, document in documents(text)]
    except InvalidYaml as error:
        yield f"{variable}{error}; the rulebook does not parse"
        return
    except OSError as error:
        yield f"{variable} cannot be read: {error.strerror}"
        return
    rulesets = parsed[0] if len(parsed) == 1 else None
    if not isinstance(rulesets, list) or not all(isinstance(one, dict) for one in rulesets):
        yield f"{variable} is not a rulebook: a list of rule sets, each with hosts, sources and rules"
        return
    for number, ruleset in enumerate(rulesets):
        lacking = [key for key in ("hosts", "sources", "rules") if not ruleset.get(key)]
        if lacking:
            yield f"{variable}: its rule set {number + 1} has no {' and no '.join(lacking)}"
    sources = {
        key
        for ruleset in rulesets
        for source in ruleset.get("sources") or []
        if isinstance(source, dict)
        for key in source
        if key not in OF_A_SOURCE
    }
    for name in sorted(sources):
        if FULL_NAME.fullmatch(name) and (missing := _missing(name, given)):
            yield f"{variable}: its source {name}: {missing}"
    if given.get("verify") and given.get("broker") and PROBE_TYPE not in text:
        yield (
            f"{variable} has no rule for the probe, an event of the type {PROBE_TYPE}: add the rule that the"
            f" README of the role event_driven shows, or set {PREFIX}verify: false"
        )


def _missing(name: str, given: Values) -> str:
    """Return what to do about the collection of a full name, "" where it is there or not to be seen."""
    collection = name.rpartition(".")[0]
    if collection in (COLLECTION, *BUILT_IN) or given.get("image"):
        return ""
    project = given.get("project")
    if not project:
        return (
            f"the image would not have the collection {collection}: install it into the folder collections"
            f" of a project, and set {PREFIX}project to that"
        )
    folder = Path(project).expanduser() / "collections"
    if (folder / "ansible_collections" / collection.replace(".", "/")).is_dir():
        return ""
    return (
        f"the collection {collection} is not in {folder}: ansible-galaxy collection install {collection}"
        f" -p {folder}"
    )

"""Checks the variables of roles against their argument specifications, all at once.

Ansible validates a role's variables when the role starts, which is too late when roles before it have
already changed something, and it says nothing of a variable that is misspelt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import (
    ArgumentTypeError,
    ElementError,
    SubParameterTypeError,
    UnsupportedError,
)

#: Prefixes that other software uses too: a foreign variable is refused only when it looks like a misspelling.
SHARED_PREFIXES = ("secrets_",)
#: Facts that roles set for those who come after them.
FACTS = ("knative_eventing_endpoint",)

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Checked:
    """What is wrong, a sentence each, and the variables in the types of their specification.

    `sound` says whether all could be brought into their types, so that code may rely on them.
    """

    problems: list[str]
    values: dict[str, Any]
    sound: bool


def check(options: Options, variables: Mapping[str, Any]) -> Checked:
    """Check the `variables` of one role that are in its specification.

    `options` is `argument_specs.main.options` of the role's specification; `variables` are templated.
    """
    given = {name: variables[name] for name in options if name in variables}
    validator = ArgumentSpecValidator(_bare(options))
    result = validator.validate(given, validate_role_argument_spec=True)
    wrong_type = (ArgumentTypeError, ElementError, SubParameterTypeError)
    errors = result.errors.errors
    return Checked(
        # Of unknown keys the validator only lists all that there are.
        problems=[str(error.msg) for error in errors if not isinstance(error, UnsupportedError)]
        + _unknown_keys(options, given),
        values=result.validated_parameters,
        sound=not any(isinstance(error, wrong_type) for error in errors),
    )


def _unknown_keys(options: Options, given: Mapping[str, Any]) -> list[str]:
    """Keys of entries of lists that their specification does not have."""
    found = []
    for name, spec in options.items():
        entries = given.get(name)
        if "options" not in spec or not isinstance(entries, list):
            continue
        for index, entry in enumerate(entries):
            for key in entry if isinstance(entry, dict) else ():
                if key not in spec["options"]:
                    found.append(f"{name}[{index}].{key}: there is no such key{_meant(key, spec)}")
    return found


def _meant(key: str, spec: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, spec["options"], n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(spec['options'])}"


def _bare(options: Options) -> dict[str, dict[str, Any]]:
    """The specification without defaults, which are the role's to give, and without marks for logs."""
    bare: dict[str, dict[str, Any]] = {}
    for name, spec in options.items():
        bare[name] = {key: value for key, value in spec.items() if key not in ("default", "no_log")}
        if "options" in spec:
            bare[name]["options"] = _bare(spec["options"])
    return bare


def unknown(role: str, options: Options, names: Iterable[str]) -> list[str]:
    """Which of a host's variables are meant for a role that has no such variable, a sentence each."""
    prefix = f"{role}_"
    found = []
    for name in sorted(names):
        if not name.startswith(prefix) or name in options or name in FACTS:
            continue
        close = difflib.get_close_matches(name, options, n=1, cutoff=0.8)
        if close:
            found.append(f"{name}: the role {role} has no such variable; did you mean {close[0]}?")
        elif prefix not in SHARED_PREFIXES:
            found.append(f"{name}: the role {role} has no such variable")
    return found

"""Checks the variables of roles against their argument specifications, all at once.

Ansible validates a role's variables when the role starts, which is too late when roles before it have
already changed something, and it says nothing of a variable that is misspelt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

#: Prefixes that other software uses too: a foreign variable is refused only when it looks like a misspelling.
SHARED_PREFIXES = ("secrets_",)

Options = Mapping[str, Mapping[str, Any]]


def problems(role: str, options: Options, variables: Mapping[str, Any]) -> list[str]:
    """What is wrong with the `variables` of one role, a sentence each, in a stable order.

    `options` is `argument_specs.main.options` of the role's specification; `variables` are all
    variables of the host, templated, of which those with the role's prefix count.
    """
    return [*_unknown(role, options, variables), *_invalid(options, variables)]


def _unknown(role: str, options: Options, names: Iterable[str]) -> list[str]:
    prefix = f"{role}_"
    found = []
    for name in sorted(names):
        if not name.startswith(prefix) or name in options:
            continue
        close = difflib.get_close_matches(name, options, n=1, cutoff=0.8)
        if close:
            found.append(f"{name}: the role {role} has no such variable; did you mean {close[0]}?")
        elif prefix not in SHARED_PREFIXES:
            found.append(f"{name}: the role {role} has no such variable")
    return found


def _invalid(options: Options, variables: Mapping[str, Any]) -> list[str]:
    given = {name: variables[name] for name in options if name in variables}
    required = {name: {**spec, "no_log": False} for name, spec in options.items()}
    result = ArgumentSpecValidator(required).validate(given, validate_role_argument_spec=True)
    return [str(message) for message in result.error_messages]

# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of event source plugins: those of their DOCUMENTATION, checked as a module's are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ._module.options import Spec, described
from ._module.suggestion import meant

#: The begin of a Jinja expression, statement or comment, or what may become one with the next text.
_JINJA = re.compile(r"\{(?=[{%#]|$)")

#: What ansible-rulebook and its rule engine take, with a margin: levels of lists and objects, characters of
#: a name, and bits of a number.
MAX_DEPTH, MAX_NAME, _MAX_BITS = 60, 10_000, 2990


class Unfit(ValueError):
    """Data that ansible-rulebook cannot hold; the message says why."""


class OptionError(ValueError):
    """An option of the rulebook is wrong; the message names it and what to do."""


def options(
    documentation: str,
    arguments: Mapping[str, Any],
    more: Spec | None = None,
) -> dict[str, Any]:
    """Return all options of an event source, converted to their types, with defaults.

    Args:
        documentation: The plugin's DOCUMENTATION, YAML with the key `options`.
        arguments: The options as ansible-rulebook passes them on from the rulebook.
        more: Argument spec of options that a documentation fragment describes.

    Raises:
        OptionError: Names everything that is wrong.
    """
    spec = described(documentation, {}) | (more or {})
    aliases = {alias for option in spec.values() for alias in option.get("aliases", ())}
    unknown = sorted(set(arguments) - set(spec) - aliases)
    if unknown:
        said = (
            f"{name} is not an option of this event source: {meant(name, sorted(spec))}"
            for name in unknown
        )
        raise OptionError("; ".join(said))
    result = ArgumentSpecValidator(spec).validate(dict(arguments))
    if result.error_messages:
        raise OptionError("; ".join(result.error_messages))
    parameters: dict[str, Any] = result.validated_parameters
    return parameters


def for_rules(value: Any, *, keep_jinja: bool, depth: int = 0) -> Any:
    """Return JSON data as ansible-rulebook 1.3 can hold it, and without Jinja expressions.

    Ansible renders the strings of an event wherever a playbook uses them, since ansible-rulebook passes
    events on as extra variables: whoever may send an event could run any lookup. So `{{` becomes
    `{ {`, unless `keep_jinja`.

    Raises:
        Unfit: ansible-rulebook would drop the data, or take no further event.
    """
    if isinstance(value, str):
        return value if keep_jinja or "{" not in value else _JINJA.sub("{ ", value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise Unfit("a number has more than 900 digits")
        return value
    if not isinstance(value, (dict, list)):
        return value
    if depth == MAX_DEPTH:
        raise Unfit(f"the data is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [for_rules(one, keep_jinja=keep_jinja, depth=depth + 1) for one in value]
    if "" in value:
        raise Unfit("a member of the data has an empty name")
    if any(len(name) > MAX_NAME for name in value):
        raise Unfit(f"a member's name has more than {MAX_NAME} characters")
    return {
        name: for_rules(member, keep_jinja=keep_jinja, depth=depth + 1)
        for name, member in value.items()
    }

"""Argument specs from documentation, so that each option is described once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    import yaml
except ImportError:  # described reports it
    yaml = None  # type: ignore[assignment]  # stands for the missing library

from .errors import TaskError

Spec = dict[str, dict[str, Any]]

#: What an argument spec takes from an option's documentation.
_KEYS = ("type", "elements", "choices", "default", "required", "aliases", "no_log")


def described(documentation: str, more: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Return the argument spec of the options in a plugin's DOCUMENTATION.

    `more` has what documentation cannot say, for example `no_log`, by option, or by "option.suboption". Raises
    TaskError without PyYAML.
    """
    if yaml is None:
        raise TaskError("PyYAML is missing on this host: pip install PyYAML")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    options = yaml.load(documentation, loader).get("options") or {}
    return _spec(options, more, "")


def _spec(
    options: Mapping[str, Mapping[str, Any]], more: Mapping[str, Mapping[str, Any]], place: str
) -> Spec:
    spec: Spec = {}
    for name, option in options.items():
        found = {key: option[key] for key in _KEYS if key in option}
        if "suboptions" in option:
            found["options"] = _spec(option["suboptions"], more, f"{place}{name}.")
        spec[name] = {**found, **more.get(f"{place}{name}", {})}
    return spec

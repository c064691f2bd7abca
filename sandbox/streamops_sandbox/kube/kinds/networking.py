"""Ingresses and network policies: kept, though nothing here routes by them or enforces them."""

from __future__ import annotations

import ipaddress

from streamops_sandbox.kube import names
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object


@function
def port_range(item: Object, field: str, found: Causes, _: Object) -> None:
    """Check the end of a range of ports."""
    first, end = item.get("port"), item.get("endPort")
    if isinstance(first, int) and end is not None and end < first:
        found.invalid(f"{field}.endPort", first, "must be greater than or equal to `port`")
    elif end is not None and not isinstance(first, int):
        why = "non-numeric" if first else "not specified"
        found.invalid(f"{field}.endPort", end, f"may not be specified when `port` is {why}")


@function
def address_block(block: Object | None, field: str, found: Causes, _: Object) -> None:
    """Check a range of addresses, and those that are left out of it."""
    whole = (block or {}).get("cidr", "")
    problems = names.network(whole) if block is not None else []
    found.problems(f"{field}.cidr", whole, problems)
    for index, part in enumerate((block or {}).get("except") or []):
        if problems or names.network(part):
            found.problems(f"{field}.except[{index}]", part, names.network(part))
        elif not _inside(part, whole):
            found.invalid(f"{field}.except[{index}]", part, "must be a strict subset of `cidr`")


def _inside(part: str, whole: str) -> bool:
    small, large = (ipaddress.ip_network(item, strict=False) for item in (part, whole))
    return small != large and int(small[0]) >= int(large[0]) and int(small[-1]) <= int(large[-1])

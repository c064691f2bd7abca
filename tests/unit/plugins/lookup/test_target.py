"""The hosts of a play: none is an error, and a canary comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader

from ansible_collections.streamops.knative.plugins.lookup.target import LookupModule

GROUPS = {"clusters": ["eu1", "eu2", "us1"], "others": ["node1"]}


@pytest.fixture(autouse=True)
def _options(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # ansible-test makes an error of it, which would come before ours.
    monkeypatch.setattr(constants, "HOST_PATTERN_MISMATCH", "warning")
    before = context.CLIARGS
    context.CLIARGS = ImmutableDict(syntax=False, listtasks=False, listtags=False)
    yield
    context.CLIARGS = before


def inventory() -> InventoryManager:
    made = InventoryManager(DataLoader(), parse=False)
    for group, hosts in GROUPS.items():
        made.add_group(group)
        for host in hosts:
            made.add_host(host, group=group)
    return made


def target(pattern: str, limit: str | None = None, **options: str) -> str:
    variables: dict[str, Any] = {"groups": GROUPS}
    if limit is not None:
        variables["ansible_limit"] = limit
    (found,) = LookupModule(loader=DataLoader()).run([pattern], variables, **options)
    return found


@pytest.mark.parametrize(
    ("pattern", "options", "hosts"),
    [
        ("clusters", {}, ["eu1", "eu2", "us1"]),
        ("clusters", {"limit": "eu*", "batch": "1,50%"}, ["eu1", "eu2", "us1"]),
        ("clusters", {"canary": "us1"}, ["us1", "eu1", "eu2"]),
        ("eu1,us1", {"canary": "us1"}, ["us1", "eu1"]),
        ("clusters:!eu2", {"canary": "us1"}, ["us1", "eu1"]),
    ],
)
def test_hosts_in_their_order(pattern: str, options: dict[str, str], hosts: list[str]) -> None:
    found = inventory().get_hosts(target(pattern, **options))
    assert [host.name for host in found] == hosts


@pytest.mark.parametrize(
    ("pattern", "options", "said"),
    [
        ("cluster", {}, r"no host for 'cluster'.* -e target=GROUP.* clusters \(3\), others \(1\)"),
        ("clusters", {"limit": "node1"}, "--limit node1 leaves no host of 'clusters': name some"),
        ("clusters", {"limit": "absent"}, "--limit absent leaves no host of 'clusters'"),
        ("clusters", {"canary": "node1"}, "canary=node1 is not one of .*: name one of eu1, eu2"),
        ("clusters", {"canary": "us1", "limit": "eu*"}, "canary=us1 is not one of the hosts"),
        ("clusters", {"batch": "0"}, "batch=0 is not a valid number of clusters"),
        ("clusters", {"batch": "half"}, "batch=half is not a valid number of clusters"),
    ],
)
def test_nothing_to_work_on_is_an_error(pattern: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(AnsibleError, match=said):
        target(pattern, **options)


def test_a_limit_in_a_file(tmp_path: Path) -> None:
    retry = tmp_path / "site.retry"
    retry.write_text("eu2\n")
    assert target("clusters", limit=f"@{retry}") == "clusters"


def test_what_needs_no_inventory() -> None:
    context.CLIARGS = ImmutableDict(syntax=True)
    assert target("absent") == "absent"

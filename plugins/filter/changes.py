# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""The filter streamops.knative.changes."""

from __future__ import annotations

DOCUMENTATION = """
name: changes
short_description: Say in words what tasks of this collection have changed
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Takes registered results, also those of loops, of skipped tasks and of tasks in check mode.
options:
  _input:
    description: Registered results.
    type: list
    elements: dict
    required: true
  limit:
    description: Up to how many objects one result of P(streamops.knative.apply#module) names; more are counted.
    type: int
    default: 5
"""

EXAMPLES = """
- name: Show what was changed
  ansible.builtin.debug:
    msg: "{{ [cluster, pipeline] | streamops.knative.changes }}"
"""

RETURN = """
_value:
  description: What was changed, in words.
  type: list
  elements: str
  sample: [create cluster streamops, created 218 objects, changed Deployment streamops/twitter]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

Result = Mapping[str, Any]
QUIET = ("unchanged", "kept")


def changes(results: Iterable[Result], limit: int = 5) -> list[str]:
    """Return what was changed, in words and in order, each once."""
    found = (text for result in results for text in _of(result, limit))
    return list(dict.fromkeys(found))


def _of(result: Result, limit: int) -> Iterator[str]:
    if "results" in result:
        for one in result["results"]:
            yield from _of(one, limit)
    elif not result.get("changed"):
        return
    elif "objects" in result:
        yield from _objects(result["objects"], limit)
    elif "changes" in result:
        yield from result["changes"]
    elif "image" in result:
        yield f"pushed {result['image']}"


def _objects(objects: Iterable[Result], limit: int) -> Iterator[str]:
    touched = [item for item in objects if item["action"] not in QUIET]
    touched.sort(key=lambda item: str(item["action"]))
    for action, group in groupby(touched, key=lambda item: str(item["action"])):
        same = list(group)
        if len(same) > limit:
            yield f"{action} {len(same)} objects"
            continue
        for item in same:
            where = f"{item['namespace']}/" if item.get("namespace") else ""
            yield f"{action} {item['kind']} {where}{item['name']}"


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"changes": changes}

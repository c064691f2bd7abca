# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Templates rendered on the controller, for the action plugins whose modules apply manifests."""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

#: What Ansible makes of bytes that are not UTF-8.
_NOT_TEXT = re.compile("[\ud800-\udfff]")


class _Variables(dict[str, Any]):
    """Variables of a task, for the lookup, which copies all of them deeply and adds some at the top only."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> dict[str, Any]:
        return dict(self)


Text = dict[str, str]  # {"name": where it came from, "text": the manifests}


def render(action: ActionBase, templates: list[Any], variables: dict[str, Any]) -> list[Text]:
    """Return the rendered templates, each a path or `{path, vars}`; raise AnsibleActionFail for all that fail."""
    lookup = lookup_loader.get(
        "ansible.builtin.template", loader=action._loader, templar=action._templar
    )
    texts: list[Text] = []
    problems: list[str] = []
    for template in templates:
        entry = template if isinstance(template, dict) else {"path": template}
        path = str(entry.get("path", ""))
        try:
            (text,) = lookup.run(
                [path], variables=_Variables(variables), template_vars=entry.get("vars") or {}
            )
        except UnicodeError as error:
            problems.append(f"- templates: {path}: not valid UTF-8: {error}")
            continue
        except AnsibleError as error:
            problems.append(f"- templates: {path}: {error}")
            continue
        text = text or ""  # None since ansible-core 2.19 where a template renders to nothing
        if line := not_text(text):
            problems.append(
                f"- templates: {path} (rendered):{line}: not valid UTF-8: save the template, and what it"
                " reads, as UTF-8"
            )
            continue
        texts.append({"name": f"{path} (rendered)", "text": text})
    if problems:
        raise AnsibleActionFail("Nothing was changed:\n" + "\n".join(problems))
    return texts


def not_text(text: str) -> int:
    """Return the line of the first byte that is not text, 0 where there is none."""
    found = _NOT_TEXT.search(text)
    return text.count("\n", 0, found.start()) + 1 if found else 0

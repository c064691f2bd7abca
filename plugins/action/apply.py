# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Controller side of streamops.knative.apply.

Renders templates with the variables of the task, finds `files` as other tasks do, and turns everything
that may hold secrets into texts that Ansible keeps out of logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError

from ..module_utils._kubernetes.manifests import expand
from ..module_utils._module.errors import TaskError
from ..module_utils._yaml import decode
from ..plugin_utils._in_process import dump, in_process
from ..plugin_utils._templates import Text, not_text, render

VAULT = b"$ANSIBLE_VAULT"


class ActionModule(in_process("apply")):  # type: ignore[misc]  # made when it is loaded
    """See the module's DOCUMENTATION."""

    def execute(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Prepare what only the controller can, then run."""
        definitions = _take(args, "definitions", "definition", "resource_definition")
        templates = _take(args, "templates", "template")
        files = _take(args, "files", "src")
        texts = [*_take(args, "contents"), *render(self, templates, variables)]
        texts += [_as_text(number, value) for number, value in enumerate(definitions)]
        here = self.runs_in_worker(variables)
        args["files"] = []
        for name in files:
            path = self._find(name)
            if here and not _is_encrypted(path):
                args["files"].append(str(path))
            else:
                texts += self._read(path)
        args["contents"] = texts
        result: dict[str, Any] = super().execute(args, variables)
        return result

    def _find(self, name: str) -> Path:
        try:
            return Path(self._find_needle("files", name))
        except AnsibleError as error:
            raise AnsibleActionFail(f"Nothing was changed: files: {error}") from error

    def _read(self, path: Path) -> list[Text]:
        """Read files for a host that does not have them, or that only Ansible can decrypt."""
        try:
            return [
                {
                    "name": str(file),
                    "text": decode(Path(self._loader.get_real_file(str(file))).read_bytes()),
                }
                for file in expand(str(path))
            ]
        except (TaskError, AnsibleError, OSError) as error:
            raise AnsibleActionFail(f"Nothing was changed: files: {path}: {error}") from error


def _take(args: dict[str, Any], *names: str) -> list[Any]:
    """Remove an option under all its names; one value is a list of one."""
    for name in names:
        value = args.pop(name, None)
        if value is not None:
            return value if isinstance(value, list) else [value]
    return []


def _as_text(number: int, value: Any) -> Text:
    text = value if isinstance(value, str) else dump(value)
    if line := not_text(text):
        raise AnsibleActionFail(
            f"Nothing was changed: definitions[{number}]:{line}: a value has bytes that are not text; in a"
            " Secret, give them in data with the filter b64encode"
        )
    return {"name": f"definitions[{number}]", "text": text}


def _is_encrypted(path: Path) -> bool:
    try:
        for candidate in expand(str(path)):
            with candidate.open("rb") as file:
                if file.read(len(VAULT)) == VAULT:
                    return True
    except (TaskError, OSError):  # the task reports it, with all other problems
        pass
    return False

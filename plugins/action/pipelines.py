# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Controller side of streamops.knative.pipelines: renders the templates with the variables of the task."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._in_process import in_process
from ..plugin_utils._templates import render

PARTS = ("base", "bindings", "producers")


class ActionModule(in_process("pipelines")):  # type: ignore[misc]  # made when it is loaded
    """See the module's DOCUMENTATION."""

    def execute(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Render what is to be applied, then run."""
        for part in PARTS if args.get("state") != "absent" else ():
            given = args.get(part) or []
            texts = render(self, given if isinstance(given, list) else [given], variables)
            # Ansible masks the whole text wherever it is: a lone newline would be masked everywhere.
            args[part] = [entry["text"] for entry in texts if entry["text"].strip()]
        result: dict[str, Any] = super().execute(args, variables)
        return result

# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Action plugin of streamops.knative.summary: what knative_info returns, shown by a template."""

from __future__ import annotations

from typing import Any

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import in_process
from ansible_collections.streamops.knative.plugins.plugin_utils._templates import render


class ActionModule(in_process("knative_info")):  # type: ignore[misc]  # made when it is loaded
    """See plugins/modules/summary.py, which documents it."""

    def execute(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Read Knative, unless in check mode, and show the rendered template."""
        template = args.pop("template")
        found: dict[str, Any] = {} if self._task.check_mode else super().execute(args, variables)
        if found.get("failed"):
            return found
        (text,) = render(self, [{"path": template, "vars": {"knative": found}}], variables)
        return {"changed": False, "msg": text["text"], "_ansible_verbose_always": True}

"""Controller side of streamops.knative.event_probe: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.event_probe import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """See the module's DOCUMENTATION."""

    module = "event_probe"
    task = TASK

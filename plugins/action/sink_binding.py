"""Controller side of streamops.knative.sink_binding: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.sink_binding import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """See the module's DOCUMENTATION."""

    module = "sink_binding"
    task = TASK

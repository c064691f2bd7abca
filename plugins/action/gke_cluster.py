"""Controller side of streamops.knative.gke_cluster: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.gke_cluster import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._google_action import GoogleAction


class ActionModule(GoogleAction):
    """See the module's DOCUMENTATION."""

    module = "gke_cluster"
    task = TASK

"""Controller side of streamops.knative.gke_kubeconfig: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.gke_kubeconfig import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._google_action import GoogleAction


class ActionModule(GoogleAction):
    """See the module's DOCUMENTATION."""

    module = "gke_kubeconfig"
    task = TASK

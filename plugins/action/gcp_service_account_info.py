"""Controller side of streamops.knative.gcp_service_account_info: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.gcp_service_account_info import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._google_action import GoogleAction


class ActionModule(GoogleAction):
    """See the module's DOCUMENTATION."""

    module = "gcp_service_account_info"
    task = TASK

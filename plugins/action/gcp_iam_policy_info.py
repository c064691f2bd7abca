"""Controller side of streamops.knative.gcp_iam_policy_info: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.gcp_iam_policy_info import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._google_action import GoogleAction


class ActionModule(GoogleAction):
    """See the module's DOCUMENTATION."""

    module = "gcp_iam_policy_info"
    task = TASK

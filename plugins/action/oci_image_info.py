"""Controller side of streamops.knative.oci_image_info: spares a local host the start of a module."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.modules.oci_image_info import TASK
from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """See the module's DOCUMENTATION."""

    module = "oci_image_info"
    task = TASK

"""Action plugin of streamops.knative.oci_image."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import in_process

ActionModule = in_process("oci_image")

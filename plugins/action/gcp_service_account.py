"""Action plugin of streamops.knative.gcp_service_account."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import in_process

ActionModule = in_process("gcp_service_account", "google.oauth2.service_account")

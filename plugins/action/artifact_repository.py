"""Action plugin of streamops.knative.artifact_repository."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import in_process

ActionModule = in_process("artifact_repository", "google.oauth2.service_account")

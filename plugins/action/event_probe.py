"""Action plugin of streamops.knative.event_probe."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import in_process

ActionModule = in_process("event_probe")

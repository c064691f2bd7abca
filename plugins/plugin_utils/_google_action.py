"""Base of the Google modules' action plugins."""

from __future__ import annotations

import contextlib
import importlib

from ansible_collections.streamops.knative.plugins.plugin_utils._in_process import InProcessAction

# Ansible loads action plugins before it forks a worker for each task: imported here, google-auth's
# 100 ms are spent once. Where it is missing, the task that needs it says so.
with contextlib.suppress(ImportError):
    importlib.import_module("google.oauth2.service_account")


class GoogleAction(InProcessAction):
    """Runs a Google task in Ansible's worker where the host is this machine."""

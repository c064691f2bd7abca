"""The value of a secret, as text or as Base64."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import ConfigError
from ansible_collections.streamops.knative.plugins.module_utils._google.payload import to_bytes


def test_bytes_that_are_not_text_are_refused():
    # What a lookup of a binary file gives; Ansible itself passes it to modules only sometimes.
    with pytest.raises(ConfigError, match="bytes that are not text: give it as value_base64"):
        to_bytes("a", "\udcff", None)

"""A Python that is too old is refused in a sentence, not by whatever it cannot import first."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._module import minimum_python


def test_an_older_python_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    said = r"needs Python 3\.11 or newer, and /usr/bin/python3 is Python 3\.10: set ansible_python_"
    spec = importlib.util.spec_from_file_location("again", minimum_python.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=said):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

"""Where downloads and layers are kept, also by users without a home directory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._module.cache_folder import (
    NAME,
    cache_folder,
)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_below_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / NAME
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    assert cache_folder() == tmp_path / "kept" / NAME
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("home", ["/proc", "/proc/self/mem/nothing"])
def test_no_home_to_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/proc"))
    folder = cache_folder()
    assert folder == tmp_path / "temporary" / f"{NAME}-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # somebody else may have put something there
    assert cache_folder() != folder

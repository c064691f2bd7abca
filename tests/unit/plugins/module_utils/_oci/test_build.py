"""Layers of an application's files are written once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._oci import build
from ansible_collections.streamops.knative.plugins.module_utils._oci.build import Builder, Recipe
from ansible_collections.streamops.knative.plugins.module_utils._oci.cache import Cache
from ansible_collections.streamops.knative.plugins.module_utils._oci.image import (
    Base,
    Image,
    Settings,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.layer import Entry, Layer
from ansible_collections.streamops.knative.plugins.module_utils._oci.platform import Platform


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The compression of each layer that is written."""
    calls = []
    write = build.write_layer

    def noted(entries: Iterable[Entry], path: Path, compression: str) -> Layer:
        calls.append(compression)
        return write(entries, path, compression)

    monkeypatch.setattr(build, "write_layer", noted)
    return calls


def built(tmp_path: Path, *, compression: str = "gzip") -> tuple[Image, Path]:
    """Return the image of tmp_path/app as another run builds it, and the file of its layer."""
    recipe = Recipe(
        folder=tmp_path / "app",
        copies=(),
        requirements=(),
        constraints=(),
        app_path="/app",
        dependencies_path="/opt/python",
        python_version=None,
        wheel_platforms=(),
        allow_secrets=(),
        compression=compression,
        pip_timeout=1.0,
    )
    builder = Builder(recipe, Cache(tmp_path / "cache"), lambda _sentence: None)
    image = builder.build(
        Platform("linux", "amd64"), Base("sha256:0", [], {"rootfs": {"diff_ids": []}}), Settings()
    )
    (file,) = builder.files.values()
    return image, file


def test_unchanged_files_are_written_once(tmp_path: Path, written: list[str]) -> None:
    (tmp_path / "app").mkdir()
    file = tmp_path / "app" / "main.py"
    file.write_text("print()")
    first, layer = built(tmp_path)
    assert (built(tmp_path), len(written)) == ((first, layer), 1)
    file.chmod(0o755)
    assert built(tmp_path)[0] != first
    file.write_text("print(1)")
    built(tmp_path)
    built(tmp_path, compression="none")
    file.rename(tmp_path / "app" / "other.py")
    built(tmp_path)
    assert len(written) == 5


def test_a_layer_that_was_removed_is_written_again(tmp_path: Path, written: list[str]) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()")
    first, layer = built(tmp_path)
    layer.unlink()
    assert (built(tmp_path), len(written)) == ((first, layer), 2)
    assert layer.exists()

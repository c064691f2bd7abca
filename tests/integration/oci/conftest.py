"""An application, wheels it needs, and registries."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.registries import Registry, sandbox_registry

from ansible_collections.streamops.knative.plugins.module_utils._oci.image_run import run
from ansible_collections.streamops.knative.plugins.modules.oci_image import TASK

MAIN = "import helper, sys\nprint('hello', helper.VALUE, *sys.argv[1:])\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with sandbox_registry(tmp_path / "home") as running:
        yield running


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application that needs one wheel; pip knows a folder with that wheel and nothing else."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {
        "helper.py": "VALUE = 42\n" * 5000,
        "helper-1.0.dist-info/METADATA": "Name: helper\nVersion: 1.0\n",
        "helper-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\n",
        "helper-1.0.dist-info/RECORD": "helper.py,,\n",
    }
    with zipfile.ZipFile(wheels / "helper-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            # Without the time, so that it has the bytes of the one that another test has left in the cache.
            archive.writestr(zipfile.ZipInfo(name), text)
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_FIND_LINKS", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    return make_app(tmp_path / "app")


def make_app(folder: Path) -> Path:
    """Write the application's files."""
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(MAIN)
    (folder / "requirements.txt").write_text("helper==1.0\n")
    return folder


class Build:
    """Calls what the module calls, with options as the module would have them."""

    def __init__(self, registry: Registry, app: Path, cache: Path) -> None:
        self.options: dict[str, Any] = {
            **{name: spec.get("default") for name, spec in TASK.options.items()},
            "name": f"{registry.host}/team/app",
            "path": str(app),
            "base": f"{registry.host}/library/python:3-slim",
            "entrypoint": ["python3", "main.py"],
            "docker_config": str(registry.docker_config),
            "cache": str(cache),
            "request_retries": 2,
            "request_timeout": 60.0,
        }

    def __call__(
        self, *, check: bool = False, diff: bool = False, **options: Any
    ) -> dict[str, Any]:
        return run({**self.options, **options}, check=check, diff=diff)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one build has got from pip, the next need not ask for."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def build(registry: Registry, app: Path, cache: Path) -> Build:
    return Build(registry, app, cache)

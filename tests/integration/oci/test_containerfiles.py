"""The Containerfiles give the same program as the module, and it answers its health check."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name
from support.ports import free_port
from support.registries import sandbox_registry
from support.workshop import MODULES, ROOT, Workshop

#: Enough for the program to start, without anything to talk to.
SETTINGS = {
    "event-viewer": {},
    "twitter-producer": {
        "TOPICS": "test",
        "K_SINK": "http://127.0.0.1:1/",
        "X_API_URL": "http://127.0.0.1:1",
        "X_BEARER_TOKEN": "none",
    },
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("workshop")
    with sandbox_registry(folder / "home") as registry:
        made = Workshop(folder, registry)
        yield made
        made.buildah.clean()


@pytest.mark.needs("buildah")
@pytest.mark.skipif(os.geteuid() != 0, reason="buildah's chroot isolation needs root")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("app", MODULES)
def test_both_ways_give_the_same_program(
    workshop: Workshop, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buildah = workshop.buildah
    wheels = workshop.wheels(app)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    module = buildah.pull(workshop.by_module(app)["image"])
    containerfile = buildah.pull(workshop.by_containerfile(app))
    assert settings(workshop, module) == settings(workshop, containerfile)
    assert files(workshop, module) == files(workshop, containerfile)
    assert "ok" in health(workshop, containerfile, SETTINGS[app])


def settings(workshop: Workshop, container: str) -> dict:
    config = workshop.buildah.config(container)
    config["Env"] = sorted(config["Env"])
    names = ("Env", "Entrypoint", "User", "WorkingDir", "ExposedPorts")
    return {name: config.get(name) for name in names}


def files(workshop: Workshop, container: str) -> dict[str, bytes]:
    """All that is in the two folders, but what pip writes to remember its work, and its scripts."""
    root = Path(workshop.buildah("mount", container))
    return {
        str(path.relative_to(root)): path.read_bytes()
        for top in ("app", "opt/python")
        for path in (root / top).rglob("*")
        if path.is_file()
        and path.parent != root / "opt/python/bin"
        and path.name not in ("RECORD", "INSTALLER", "REQUESTED")
    }


def health(workshop: Workshop, container: str, more: dict[str, str]) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"
    env = {"HOST": "127.0.0.1", "PORT": str(port), **more}
    with workshop.buildah.running(container, env) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    return answer.read().decode().lower()
            except OSError:
                time.sleep(0.1)
    assert process.stdout is not None
    raise AssertionError(f"no health check: {process.stdout.read().decode()[-2000:]}")


@pytest.mark.parametrize("app", MODULES)
def test_everything_an_application_brings_along_is_pinned_as_in_the_collection(app: str) -> None:
    root = dict(pins(ROOT / "constraints.txt"))
    for name in ("requirements.txt", "constraints.txt"):
        for project, version in pins(ROOT / "apps" / app / name):
            assert root.get(project) == version, f"{app}/{name}: {project}"
    requirements, locked = (
        ROOT / "apps" / app / name for name in ("requirements.txt", "constraints.txt")
    )
    assert dict(pins(requirements)).items() <= dict(pins(locked)).items()
    lines = re.sub(r"\\\n", " ", locked.read_text()).splitlines()
    assert all("--hash=sha256:" in line for line in lines if not line.startswith("#"))


def pins(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        if line and not line.startswith(("#", " ")):
            project, _, version = line.removesuffix("\\").strip().partition("==")
            yield canonicalize_name(project), version


@pytest.mark.needs("buildah", "skopeo")
@pytest.mark.skipif(os.geteuid() != 0, reason="buildah's chroot isolation needs root")
@pytest.mark.timeout(400)
def test_role_builds_with_an_engine_and_says_what_changed(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Both apps by buildah through the role; earlier builds have filled buildah's layer cache."""
    buildah = workshop.buildah
    for app in MODULES:
        wheels = workshop.wheels(app)
        workshop.by_containerfile(app)
    variables = {
        "twitter_pipeline_images_engine": "buildah",
        "twitter_pipeline_credentials": "kubernetes",
        "twitter_pipeline_registry": f"{workshop.registry.host}/role",
        "twitter_pipeline_images_base": workshop.base,
        "twitter_pipeline_images_apps": str(workshop.apps),
        "twitter_pipeline_images_docker_config": str(workshop.registry.docker_config),
        "twitter_pipeline_images_build_options": buildah.build_options(wheels),
        "twitter_pipeline_images_push_options": buildah.push_options,
    }
    role = {
        "name": "streamops.knative.twitter_pipeline",
        "tasks_from": "images.yml",
        "public": True,  # the references are a variable of the role
    }
    shown = {"msg": "IMAGES {{ _twitter_pipeline_images | to_json }}"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": variables,
        "tasks": [{"ansible.builtin.include_role": role}, {"ansible.builtin.debug": shown}],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))

    def run() -> tuple[int, str]:
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", playbook],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env=buildah.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        (changed,) = re.findall(r"changed=(\d+)", done.stdout)
        return int(changed), done.stdout

    changed, output = run()
    assert changed == 2
    for key, app in (("producer", "twitter-producer"), ("viewer", "event-viewer")):
        found = re.search(rf'\\?"{key}\\?": \\?"([^"\\]+)', output)
        assert found is not None, output[-2000:]
        name, _, digest = found[1].partition("@")
        assert name == f"{workshop.registry.host}/role/{app}"
        assert digest.startswith("sha256:")
        inspected = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{found[1]}"],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert json.loads(inspected.stdout)["layers"]
    assert run()[0] == 0


@pytest.mark.parametrize("app", ["event-viewer", "twitter-producer"])
def test_the_base_is_the_roles_by_digest(app: str) -> None:
    defaults = yaml.safe_load((ROOT / "roles/twitter_pipeline/defaults/main.yml").read_text())
    base = defaults["twitter_pipeline_images_base"].strip()
    assert "@sha256:" in base
    assert f"ARG BASE={base}\n" in (ROOT / "apps" / app / "Containerfile").read_text()

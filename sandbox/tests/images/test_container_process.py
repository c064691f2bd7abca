"""A container's root folder, and the process that runs in it without a chroot."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.registries import sandbox_registry

from streamops_sandbox.node.images import Image, ImageError, make_root, process, pull
from streamops_sandbox.node.images.image import Reference


@pytest.fixture
def base(tmp_path: Path) -> Image:
    with sandbox_registry(tmp_path / "home") as registry:
        reference = f"{registry.host}/library/python:3-slim"
        return asyncio.run(pull(reference, store=tmp_path / "store"))


def image(tmp_path: Path, files: dict[str, str], **config: object) -> Image:
    rootfs = tmp_path / "store" / "snapshots" / "made"
    for name, content in files.items():
        path = rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    rootfs.mkdir(parents=True, exist_ok=True)
    return Image(Reference.parse("test"), "sha256:0", config, rootfs)


def run(made: Image, root: Path, **options) -> subprocess.CompletedProcess[str]:
    what = process(made, root, **options)
    return subprocess.run(
        what.argv,
        env=what.env,
        cwd=what.cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("read_only", [True, False])
def test_python_runs_without_the_sandboxs_packages(
    base: Image, tmp_path: Path, read_only: bool
) -> None:
    make_root(base, tmp_path / "root", read_only=read_only)
    script = "import json, sys; print(json.dumps([sys.path, sys.version_info[:2]]))"
    path, version = json.loads(run(base, tmp_path / "root", args=["python3", "-c", script]).stdout)
    assert tuple(version) == sys.version_info[:2]
    assert not [entry for entry in path if "site-packages" in entry or "dist-packages" in entry]


def test_nothing_of_the_nodes_environment_leaks(
    base: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_SECRET", "x")
    make_root(base, tmp_path / "root", read_only=True)
    what = process(base, tmp_path / "root", env={"MINE": "/etc/passwd"})
    assert "NODE_SECRET" not in what.env
    assert what.env["MINE"] == "/etc/passwd"


def test_mounts_are_never_in_the_store(tmp_path: Path) -> None:
    made = image(tmp_path, {"etc/app/default": "1", "etc/other": "2", "run/x": "3"}, Cmd=["x"])
    (made.rootfs / "var").mkdir()
    (made.rootfs / "var/run").symlink_to("../run")
    root = tmp_path / "root"
    mounts = ["/etc/app", "/var/run/secrets/token", "/data/new", "/data"]
    make_root(made, root, read_only=True, mounts=mounts)
    for mount in mounts:
        (root / mount[1:]).mkdir(exist_ok=True)
        (root / mount[1:] / "written").write_text("by the node")
    assert (root / "etc/other").read_text() == "2"
    assert not (root / "etc/app/default").exists()
    assert (root / "var/run/x").read_text() == "3"
    assert not list(made.rootfs.rglob("written"))


def test_writable_root_is_a_copy(tmp_path: Path) -> None:
    made = image(tmp_path, {"data/file": "original"}, Cmd=["x"])
    make_root(made, tmp_path / "root", read_only=False)
    (tmp_path / "root/data/file").write_text("changed")
    assert (made.rootfs / "data/file").read_text() == "original"


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (None, None, ["entry", "cmd"]),
        (None, ["a"], ["entry", "a"]),
        (["/bin/echo"], None, []),
        (["/bin/echo"], ["a"], ["a"]),
    ],
)
def test_command_and_args_over_entrypoint_and_cmd(
    tmp_path: Path, command: list[str] | None, args: list[str] | None, expected: list[str]
) -> None:
    made = image(tmp_path, {}, Entrypoint=["/bin/echo", "entry"], Cmd=["cmd"])
    make_root(made, tmp_path / "root", read_only=True)
    assert process(made, tmp_path / "root", command=command, args=args).argv[1:] == expected


def test_scripts_run_with_the_images_interpreter(tmp_path: Path) -> None:
    made = image(
        tmp_path,
        {
            "usr/local/bin/tool": "#!/opt/interpreter -x\n",
            "opt/interpreter": '#!/bin/sh\necho "interpreted $1 $(basename $2) $3"\n',
        },
        Entrypoint=["tool"],
        Env=["PATH=/usr/local/bin"],
    )
    make_root(made, tmp_path / "root", read_only=True)
    assert run(made, tmp_path / "root", args=["a"]).stdout == "interpreted -x tool a\n"


def test_paths_of_the_images_environment_are_mapped(tmp_path: Path) -> None:
    made = image(
        tmp_path,
        {"app/lib/x": "", "app/settings.ini": ""},
        Cmd=["/bin/true"],
        Env=["PYTHONPATH=/app/lib:/none", "SETTINGS=/app/settings.ini", "URL=/api", "N=1"],
        WorkingDir="/app",
    )
    root = tmp_path / "root"
    make_root(made, root, read_only=False)
    what = process(made, root, env={"PYTHONPATH": "/app"})
    assert process(made, root).env["PYTHONPATH"] == f"{root}/app/lib:{root}/none"
    assert what.env["PYTHONPATH"] == f"{root}/app"
    assert what.env["SETTINGS"] == f"{root}/app/settings.ini"
    assert (what.env["URL"], what.env["N"]) == ("/api", "1")
    assert what.cwd == root / "app"


@pytest.mark.parametrize(
    ("config", "options", "reason", "text"),
    [
        ({}, {}, "CreateContainerError", "no command specified"),
        ({"Cmd": ["nothing-like-this"]}, {}, "RunContainerError", "not found in \\$PATH"),
        ({"Cmd": ["/app/none"]}, {}, "RunContainerError", "no such file or directory"),
        ({"Cmd": ["/bin/sh"]}, {"working_dir": "/none"}, "RunContainerError", "chdir to cwd"),
    ],
)
def test_what_cannot_run_says_why(
    tmp_path: Path, config: dict, options: dict, reason: str, text: str
) -> None:
    made = image(tmp_path, {}, **config)
    make_root(made, tmp_path / "root", read_only=True)
    with pytest.raises(ImageError, match=text) as error:
        process(made, tmp_path / "root", **options)
    assert error.value.reason == reason


def test_file_that_is_not_executable(tmp_path: Path) -> None:
    made = image(tmp_path, {"app/run": "x"}, Cmd=["/app/run"])
    os.chmod(made.rootfs / "app/run", 0o644)
    make_root(made, tmp_path / "root", read_only=True)
    with pytest.raises(ImageError, match="permission denied"):
        process(made, tmp_path / "root")

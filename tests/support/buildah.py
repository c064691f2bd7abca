"""buildah with a store of its own, and a base image with Python for it, made without a download."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NOT_NEEDED = shutil.ignore_patterns(
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages", "config-*"
)
#: Libraries that manylinux wheels may expect beside libc and libm.
_FOR_WHEELS = ("libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1")


class Buildah:
    """Runs buildah as root, isolated by chroot, with images kept below `folder`."""

    def __init__(self, folder: Path, *, docker_config: Path | None = None) -> None:
        self.folder = folder
        self.environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        if docker_config:
            self.environment["REGISTRY_AUTH_FILE"] = str(docker_config)
        policy = folder / "policy.json"
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._policy = ["--signature-policy", str(policy)]
        self.push_options = [*self._policy, "--tls-verify=false"]
        storage = folder / "storage.conf"  # for a buildah that somebody else calls
        storage.write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{folder / "root"}"\nrunroot = "{folder / "runroot"}"\n'
        )
        self.environment["CONTAINERS_STORAGE_CONF"] = str(storage)

    def command(self, *arguments: object) -> list[str]:
        """Return the whole command line."""
        return ["buildah", *map(str, arguments)]

    def __call__(self, *arguments: object, timeout: float = 240) -> str:
        """Run buildah; its output, or an AssertionError with what it said."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"buildah {arguments}: {done.stderr[-3000:]}"
        return done.stdout.strip()

    def build(self, app: Path, tag: str, base: str, wheels: Path) -> str:
        """Build an application's Containerfile, its dependencies from a folder of wheels."""
        return self(
            "build",
            "--quiet",
            "--layers",
            *self.build_options(wheels),
            f"--build-arg=BASE={base}",
            f"--file={app / 'Containerfile'}",
            f"--tag={tag}",
            app,
        )

    def build_options(self, wheels: Path) -> list[str]:
        """Return what lets a RUN find wheels here, and the base in a registry without TLS."""
        config = self.folder / "pip.conf"
        config.write_text(
            "[global]\nno-index = true\nfind-links = /wheels\nroot-user-action = ignore\n"
        )
        volumes = [f"--volume={wheels}:/wheels:ro", f"--volume={config}:/etc/pip.conf:ro"]
        return [*self.push_options, *volumes]

    def push(self, tag: str, *options: str) -> None:
        """Push an image to the registry its name is of."""
        self("push", "--quiet", *self.push_options, *options, tag)

    def pull(self, reference: str) -> str:
        """Pull an image and make a container of it; returns the container's name."""
        return self("from", *self._policy, "--quiet", "--tls-verify=false", reference)

    def config(self, container: str) -> dict[str, Any]:
        """Return a container's configuration, as in the image specification."""
        config: dict[str, Any] = json.loads(self("inspect", container))["OCIv1"]["config"]
        return config

    @contextlib.contextmanager
    def running(self, container: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a container's entrypoint until the end of the block."""
        variables = [part for key, value in env.items() for part in ("--env", f"{key}={value}")]
        process = subprocess.Popen(
            self.command("run", *variables, container, "--", *self.config(container)["Entrypoint"]),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # buildah ends at once and may leave the program that it runs to itself.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def clean(self) -> None:
        """Remove containers and images, so that the folder can be removed."""
        self("rm", "--all")
        self("rmi", "--all", "--force")

    def python_base(self, tag: str) -> None:
        """Make and push an image with this machine's Python, pip and a shell, as python:slim has."""
        tree = self.folder / "base"
        _copy_python(tree)
        container = self("from", "--quiet", "scratch")
        self("add", "--quiet", container, tree, "/")
        path = "/usr/local/bin:/usr/bin:/bin"
        version = platform.python_version()
        self("config", "--env", f"PATH={path}", "--env", f"PYTHON_VERSION={version}", container)
        self("commit", *self._policy, "--quiet", "--rm", container, tag)
        self.push(tag, "--disable-compression")


def _copy_python(tree: Path) -> None:
    """Lay out a root file system: the interpreter below /usr/local, a shell, their libraries."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = tree / "usr/local/lib" / minor
    binaries = tree / "usr/local/bin"
    binaries.mkdir(parents=True)
    interpreter = Path(sys.base_prefix, "bin", minor)
    shutil.copy(interpreter, binaries / minor)
    for name in ("python3", "python"):
        (binaries / name).symlink_to(minor)
    shutil.copytree(sysconfig.get_path("stdlib"), library, symlinks=True, ignore=_NOT_NEEDED)
    (bundled,) = (library / "ensurepip/_bundled").glob("pip-*.whl")
    with zipfile.ZipFile(bundled) as archive:
        archive.extractall(library / "site-packages")
    for program in ("/bin/sh", "/usr/bin/env"):
        _copy(Path(program), tree)
    linked = [interpreter, Path("/bin/sh"), Path("/usr/bin/env"), *library.rglob("*.so")]
    listed = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=True).stdout
    for needed in set(re.findall(r"^\s.*?(/\S+) \(0x", listed, re.MULTILINE)):
        _copy(Path(needed), tree)
        if Path(needed).name == "libc.so.6":
            for name in _FOR_WHEELS:
                _copy(Path(needed).with_name(name), tree)
    for name, mode in (("tmp", 0o1777), ("root", 0o755), ("var/tmp", 0o1777), ("proc", 0o755)):
        (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / name).chmod(mode)
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\n")


def _copy(file: Path, tree: Path) -> None:
    target = tree / str(file).lstrip("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)

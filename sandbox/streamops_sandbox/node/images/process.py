"""How an image's configuration becomes a process that runs without a chroot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamops_sandbox.node.images.image import Image, ImageError
from streamops_sandbox.node.images.unpack import resolve
from streamops_sandbox.node.isolation import interpreter

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where the host's own commands are (sh, cat): an image that is run like this brings no libc.
_HOST_PATH = ("/usr/bin", "/bin")
_SEARCH_PATHS = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH"}


@dataclass(frozen=True)
class Process:
    """What to start: `argv[0]` is a path of the host."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path


def process(
    image: Image,
    root: Path,
    *,
    command: Sequence[str] | None = None,
    args: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    working_dir: str | None = None,
    bytecode: Path | None = None,
) -> Process:
    """Return the process for a container whose root folder is `root`.

    `command` and `args` replace Entrypoint and Cmd as Kubernetes defines it; `env` is the
    container's own and wins over the image's. Paths of the image are mapped into `root`: an
    absolute executable, the interpreter of a script, the working directory, search paths, and
    those of the image's own variables that name something in it. `bytecode` is a folder for
    Python's bytecode of the image's files. Nothing of this process's environment is handed on.
    """
    root = root.absolute()
    variables = _environment(image, root, env or {}, bytecode)
    argv = _arguments(image, command, args)
    folder = working_dir or str(image.config.get("WorkingDir") or "/")
    cwd = _inside(image, root, folder)
    if not cwd.is_dir():
        raise ImageError(
            "RunContainerError", f'chdir to cwd ("{folder}") failed: no such file or directory'
        )
    executable = _executable(argv[0], image, root, cwd, variables["PATH"])
    return Process([*_interpreter(executable, image, root), *argv[1:]], variables, cwd)


def _inside(image: Image, root: Path, path: str) -> Path:
    """Return the file of the host that `path` means in the container.

    The image's links are followed as if its root were `/`; then the root folder's, into the store.
    """
    return Path(os.path.realpath(root / resolve(image.rootfs, path).relative_to(image.rootfs)))


def _arguments(
    image: Image, command: Sequence[str] | None, args: Sequence[str] | None
) -> list[str]:
    entrypoint = list(command or image.config.get("Entrypoint") or [])
    if args is not None and (args or command):
        arguments = list(args)
    else:
        arguments = [] if command else list(image.config.get("Cmd") or [])
    if not entrypoint + arguments:
        raise ImageError("CreateContainerError", "no command specified")
    return entrypoint + arguments


def _environment(
    image: Image, root: Path, own: Mapping[str, str], bytecode: Path | None
) -> dict[str, str]:
    given = dict(entry.partition("=")[::2] for entry in image.config.get("Env") or [])
    variables = {"PATH": _DEFAULT_PATH, "HOME": "/"} | given
    for name, value in variables.items():
        if name in _SEARCH_PATHS or _names_content(value, image.rootfs) or name == "HOME":
            variables[name] = _mapped(value, image, root)
    for name, value in own.items():
        variables[name] = _mapped(value, image, root) if name in _SEARCH_PATHS else value
    variables["PATH"] = ":".join((variables["PATH"], *_HOST_PATH))
    variables["SANDBOX_PYTHON"] = interpreter()
    if (root / "tmp").is_dir() and not (root / "tmp").is_symlink():
        variables.setdefault("TMPDIR", str(root / "tmp"))
    if bytecode is not None and str(image.rootfs) in variables.get("PYTHONPATH", ""):
        # Shared by containers of the image, as its files are; images hold no bytecode.
        variables.setdefault("PYTHONPYCACHEPREFIX", str(bytecode))
    return variables


def _names_content(value: str, rootfs: Path) -> bool:
    """Tell whether a value is one or more absolute paths, one of which is in the image."""
    paths = value.split(":")
    if not all(path.startswith("/") and path != "/" for path in paths):
        return False
    return any(resolve(rootfs, path).exists() for path in paths)


def _mapped(value: str, image: Image, root: Path) -> str:
    """Map each absolute path of a `:`-separated list."""
    return ":".join(
        str(_inside(image, root, path)) if path.startswith("/") else path
        for path in value.split(":")
    )


def _executable(name: str, image: Image, root: Path, cwd: Path, search: str) -> Path:
    """Find what to execute: in the image, else among the host's own commands."""
    if "/" not in name:
        found = shutil.which(name, path=search)
        if found is None:
            raise ImageError(
                "RunContainerError",
                f'exec: "{name}": executable file not found in $PATH',
            )
        return Path(found)
    inside = _inside(image, root, name) if name.startswith("/") else cwd / name
    host = Path(name)
    for path in (inside, host) if str(host.parent) in _HOST_PATH else (inside,):
        if os.access(path, os.X_OK) and path.is_file():
            return path
    problem = "permission denied" if inside.exists() else "no such file or directory"
    raise ImageError("RunContainerError", f'exec: "{name}": stat {name}: {problem}')


def _interpreter(executable: Path, image: Image, root: Path) -> list[str]:
    """Return how to start a file: a script whose interpreter is the image's, by that one."""
    with executable.open("rb") as file:
        first = file.readline(256)
    if first.startswith(b"#!"):
        interpreter, *argument = first[2:].decode(errors="replace").strip().split(None, 1)
        inside = _inside(image, root, interpreter)
        if interpreter.startswith("/") and inside.is_file():
            return [str(inside), *argument, str(executable)]
    return [str(executable)]

"""Starts a program in a pod's network namespace: `python -I -S enter.py NAMESPACE OPTIONS -- ARGV`.

    --bind SOURCE TARGET   show a file or folder at another place, to this program only
    --root FOLDER          make the folder the program's root, after the binds

Standard library only: every container of a node with network namespaces starts through it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter(namespace: str, binds: list[tuple[str, str]], root: str | None) -> None:
    """Move this process into a network namespace and a view of the files of its own. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    _check(libc.setns(descriptor, _CLONE_NEWNET), f"setns {namespace}")
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
    for source, target in binds:
        done = libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)
        _check(done, f"mount {source} at {target}")
    if root is not None:
        os.chroot(root)
        os.chdir("/")


def main() -> None:
    """Enter the namespace and become the program."""
    end = sys.argv.index("--")
    options, argv = sys.argv[2:end], sys.argv[end + 1 :]
    binds, root = [], None
    while options:
        if options[0] == "--bind":
            binds.append((options[1], options[2]))
            del options[:3]
        else:
            root = options[1]
            del options[:2]
    enter(sys.argv[1], binds, root)
    os.execvp(argv[0], argv)  # noqa: S606 - it becomes the container's program


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        # As container runtimes report a program that cannot be started.
        sys.exit(f"exec: {error}")

"""Starts a program apart from this machine: `python -I -S enter.py OPTIONS -- ARGV`.

    --unprivileged         in a user namespace of its own, for what only root may do otherwise
    --bind SOURCE TARGET   show a file or folder at another place, to this program only
    --view FOLDER          make a root of its own at FOLDER: this machine's files and the binds
    --user ID              as this user and group, without any privilege

A view shows of a folder on the way to a bind's target only what every user may read, and of one
that others cannot enter nothing but the target. Standard library only: containers start through it.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID_NODEV = 2 | 4
_MS_BIND_REC = 4096 | 16384
_MS_PRIVATE_REC = 1 << 18 | 16384
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_TO_ALL = 0o005
_MS_NOSUID_NOEXEC = 2 | 8
#: What a pseudo-terminal takes, both of the same mount.
_TERMINALS = ("/dev/ptmx", "/dev/pts")

_MNT_DETACH = 2
_OLD_ROOT = ".old-root"
#: The number of the system call, which the C library does not offer.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(
    source: str, target: str, flags: int, kind: bytes | None = None, options: bytes | None = None
) -> None:
    done = _libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, options)
    _check(done, f"mount {source} at {target}")


def _own_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


class View:
    """A root folder made of this machine's files, with others at the targets of binds."""

    def __init__(self, top: str, binds: list[tuple[str, str]]) -> None:
        self._top = top
        # Links on the way to a target are this machine's: `/var/run` is `/run` in the view, too.
        self._targets = {os.path.realpath(target): source for source, target in binds}
        self._ways = {"/"}
        for target in self._targets:
            while (target := os.path.dirname(target)) not in self._ways:
                self._ways.add(target)

    def make(self) -> None:
        """Make it. Raises OSError."""
        _mount("tmpfs", self._top, _MS_NOSUID_NODEV, b"tmpfs", b"mode=755")
        for folder in sorted(self._ways):
            if folder != "/":
                os.mkdir(self._top + folder)
            self._fill(folder)
        if "/dev" in self._ways:
            self._make_terminals()
        for target, source in sorted(self._targets.items()):
            self._show(source, target)

    def _make_terminals(self) -> None:
        """Give programs pseudo-terminals of their own: this machine's do not open from another /dev."""
        multiplexer, folder = (self._top + path for path in _TERMINALS)
        os.mkdir(folder)
        options = b"newinstance,ptmxmode=0666,mode=0620"
        _mount("devpts", folder, _MS_NOSUID_NOEXEC, b"devpts", options)
        os.symlink("pts/ptmx", multiplexer)

    def _fill(self, folder: str) -> None:
        try:
            entries = list(os.scandir(folder))
            mode = os.stat(folder).st_mode
        except OSError:
            return
        if folder in self._targets or mode & _OPEN_TO_ALL != _OPEN_TO_ALL:
            return
        for entry in entries:
            if entry.path in (*self._ways, *self._targets, *_TERMINALS):
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), self._top + entry.path)
                continue
            try:
                self._show(entry.path, entry.path)
            except OSError:
                continue  # gone, or not ours to show

    def _show(self, source: str, target: str) -> None:
        place = self._top + target
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(source, place, _MS_BIND_REC)


def _change_root(folder: str) -> None:
    """Make a mounted folder the root of this mount namespace; after a chroot no program could."""
    if _PIVOT_ROOT is None:
        os.chroot(folder)
        return
    os.mkdir(f"{folder}/{_OLD_ROOT}")
    os.chdir(folder)
    _check(_libc.syscall(_PIVOT_ROOT, b".", _OLD_ROOT.encode()), "pivot_root")
    _check(_libc.umount2(f"/{_OLD_ROOT}".encode(), _MNT_DETACH), "umount")
    os.rmdir(f"/{_OLD_ROOT}")


def _drop_privileges(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def main() -> None:
    """Carry out the options and become the program. Raises OSError."""
    end = sys.argv.index("--")
    options, argv = sys.argv[1:end], sys.argv[end + 1 :]
    given: dict[str, str] = {}
    binds: list[tuple[str, str]] = []
    while options:
        name = options.pop(0)
        if name == "--bind":
            binds.append((options.pop(0), options.pop(0)))
        else:
            given[name] = "" if name == "--unprivileged" else options.pop(0)
    folder = os.getcwd()
    os.umask(0o022)
    if "--unprivileged" in given:
        _own_user_namespace()
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", _MS_PRIVATE_REC)
    if view := given.get("--view"):
        View(view, binds).make()
        _change_root(view)
        os.chdir(folder)
    else:
        for source, target in binds:
            _mount(source, target, _MS_BIND_REC)
    if user := given.get("--user"):
        _drop_privileges(int(user))
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    os.execvp(argv[0], argv)  # noqa: S606 - it becomes the container's program


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        # As container runtimes report a program that cannot be started.
        sys.exit(f"exec: {error}")

"""Platforms of images, and what pip and environment markers call them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import OptionError

#: OCI's (Go's) name of an architecture -> that of `uname -m`.
_MACHINES = {
    "386": "i686",
    "amd64": "x86_64",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
#: Newest glibc that wheels may ask for (Debian 10, RHEL 8), and the oldest.
_NEWEST_GLIBC, _OLDEST_GLIBC = 28, 17


@dataclass(frozen=True, order=True)
class Platform:
    """`os`/`architecture`, as in an image index."""

    os: str
    architecture: str

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `linux/amd64`."""
        match = re.fullmatch(r"(linux)/([a-z0-9]+)(?:/v8)?", text)
        if not match or match[2] not in _MACHINES:
            known = ", ".join(f"linux/{name}" for name in _MACHINES)
            raise OptionError(f"platforms: '{text}' is not supported; there are {known}")
        return cls(match[1], match[2])

    @property
    def machine(self) -> str:
        """What `uname -m` says there."""
        return _MACHINES[self.architecture]

    def wheel_tags(self) -> list[str]:
        """Platform tags of wheels that run there, for images with glibc 2.28 or newer (PEP 600)."""
        versions = range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in versions]
        legacy = ["manylinux2014"]
        if self.architecture in ("amd64", "386"):
            tags += [f"manylinux_2_12_{self.machine}", f"manylinux_2_5_{self.machine}"]
            legacy += ["manylinux2010", "manylinux1"]
        return [*tags, *(f"{name}_{self.machine}" for name in legacy), f"linux_{self.machine}"]

    def markers(self, python_version: str) -> dict[str, str]:
        """Return the environment that markers are evaluated in (PEP 508); `python_version` in full."""
        return {
            "implementation_name": "cpython",
            "implementation_version": python_version,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": python_version,
            "python_version": ".".join(python_version.split(".")[:2]),
            "sys_platform": "linux",
        }

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"

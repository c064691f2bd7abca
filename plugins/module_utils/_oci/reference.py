"""Image references, with Docker's short forms.

Grammar: https://github.com/distribution/reference/blob/main/reference.go
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import OptionError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class Reference:
    """`registry`/`name`, with a tag or a digest or neither."""

    registry: str
    name: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, option: str) -> Reference:
        """Read a reference; `option` is named where it is wrong."""
        rest, at, digest = text.partition("@")
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        first, more, remainder = f"{head}{slash}{last}".partition("/")
        if more and ("." in first or ":" in first or first == "localhost"):
            registry, name = first, remainder
        else:
            registry, name = DOCKER_HUB, f"{first}/{remainder}" if more else f"library/{first}"
        if (
            not _NAME.fullmatch(name)
            or (colon and not _TAG.fullmatch(tag))
            or (at and not _DIGEST.fullmatch(digest))
        ):
            raise OptionError(
                f"{option}: '{text}' is not a valid image reference. REGISTRY/NAME is expected, in lower case,"
                " with :TAG or @sha256:DIGEST, for example docker.io/library/python:3.13-slim"
            )
        return cls(registry, name, tag or None, digest or None)

    @property
    def host(self) -> str:
        """Where the registry's API is: HOST or HOST:PORT."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this machine."""
        return bool(_LOOPBACK.fullmatch(self.registry))

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.registry}/{self.name}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def check_tag(tag: str) -> str:
    """Return the tag, if it is one."""
    if not _TAG.fullmatch(tag):
        raise OptionError(
            f"tags: '{tag}' is not a valid tag: letters, digits, '_', '.' and '-', at most 128 characters"
        )
    return tag

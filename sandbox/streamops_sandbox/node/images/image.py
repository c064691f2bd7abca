"""Images: how people name them, what the node keeps of them, and what can go wrong with them.

Grammar of references: https://github.com/distribution/reference/blob/main/reference.go
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamops_sandbox import oci

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[::1\]")


class ImageError(Exception):
    """An image that cannot be had or run.

    `reason` is a container's waiting reason (ErrImagePull, InvalidImageName, ErrImageNeverPull,
    CreateContainerError, RunContainerError), `message` what the kubelet would show with it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Reference:
    """`domain`/`name`, with a tag (`latest` where neither was given) or a digest."""

    domain: str
    name: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as people write it in a pod's `image`."""
        rest, _, digest = text.partition("@")
        head, _, last = rest.rpartition("/")
        last, _, tag = last.partition(":")
        name = f"{head}/{last}" if head else last
        first, slash, remainder = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            domain, name = first, remainder
        else:
            domain, name = "docker.io", name if slash else f"library/{name}"
        if (
            not oci.NAME.fullmatch(name)
            or (tag and not oci.TAG.fullmatch(tag))
            or (digest and not oci.DIGEST.fullmatch(digest))
            or rest.endswith(":")
            or text.endswith("@")
        ):
            message = f'Failed to apply default image tag "{text}": couldn\'t parse image name'
            raise ImageError("InvalidImageName", f'{message} "{text}": invalid reference format')
        return cls(domain, name, tag or (None if digest else "latest"), digest or None)

    @property
    def repository(self) -> str:
        """Return the name without tag and digest."""
        return f"{self.domain}/{self.name}"

    @property
    def url(self) -> str:
        """Return the API's base URL of this repository; loopback registries speak plain HTTP."""
        host = "registry-1.docker.io" if self.domain == "docker.io" else self.domain
        return f"{'http' if self.loopback else 'https'}://{host}/v2/{self.name}"

    @property
    def loopback(self) -> bool:
        """Tell whether the registry is on this machine."""
        return bool(_LOOPBACK.fullmatch(re.sub(r":\d+$", "", self.domain)))

    def failure(self, message: str) -> ImageError:
        """Return the error of a pull, in containerd's words."""
        return ImageError("ErrImagePull", f'failed to pull and unpack image "{self}": {message}')

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True)
class Image:
    """An unpacked image.

    `digest` is what the reference resolved to (an index's digest, where it is one). `config` is
    the inner part of the OCI image configuration: Entrypoint, Cmd, Env, WorkingDir, User, ….
    `rootfs` is shared by all containers of the image and must not be written to.
    """

    reference: Reference
    digest: str
    config: dict[str, Any]
    rootfs: Path

    @property
    def image_id(self) -> str:
        """Return `REPOSITORY@DIGEST`, what a pod's status calls imageID."""
        return f"{self.reference.repository}@{self.digest}"

"""A base image that runs on the sandbox: `library/python`, made here as nothing is downloaded.

It holds no interpreter. Its `python3` starts the one that the node names in SANDBOX_PYTHON (the
interpreter that the sandbox itself runs on), without that one's site-packages. The image declares
PYTHON_VERSION and a platform as Docker's official `python` images do, so wheels are chosen for it
in the same way. The content depends on nothing but this machine's Python version and platform.
"""

from __future__ import annotations

import gzip
import io
import json
import platform
import tarfile
from typing import Any

from streamops_sandbox import oci
from streamops_sandbox.registry.content import Content, digest_of

REPOSITORY = "library/python"

_LAUNCHER = """\
#!/bin/sh
# Runs the Python that the sandbox's node names; -S keeps its site-packages out of the container.
exec "${SANDBOX_PYTHON:?this image runs on the node of the sandbox only}" -S "$@"
"""
_USERS = "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\n"
_GROUPS = "root:x:0:\nnonroot:x:65532:\n"
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def add_base_image(registry: Content) -> None:
    """Put the base image for this machine's Python into the registry."""
    version = platform.python_version()
    minor = version.rpartition(".")[0]
    layer_tar = _layer(minor)
    config = {
        "architecture": oci.architecture(),
        "os": platform.system().lower(),
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": [f"PATH={_PATH}", "LANG=C.UTF-8", f"PYTHON_VERSION={version}"],
            "Cmd": ["python3"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer_tar)]},
        "history": [{"created_by": "streamops_sandbox.registry: launcher of the host's Python"}],
    }
    media_type = oci.MANIFESTS[0]

    def stored(kind: str, blob: bytes) -> dict[str, Any]:
        digest = registry.put_blob(REPOSITORY, blob)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": digest,
            "size": len(blob),
        }

    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": stored("config.v1+json", json.dumps(config, sort_keys=True).encode()),
        "layers": [stored("layer.v1.tar+gzip", gzip.compress(layer_tar, mtime=0))],
    }
    content = json.dumps(manifest, sort_keys=True).encode()
    for tag in ("slim", "3-slim", f"{minor}-slim", f"{version}-slim"):
        registry.put_manifest(REPOSITORY, tag, content, media_type)


def _layer(minor: str) -> bytes:
    """Return the one layer as a tar: launcher, its other names, users, a world-writable /tmp."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("etc", "home", "home/nonroot", "tmp", "usr", "usr/local", "usr/local/bin"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        for name, text, mode in (
            ("etc/group", _GROUPS, 0o644),
            ("etc/passwd", _USERS, 0o644),
            ("usr/local/bin/python3", _LAUNCHER, 0o755),
        ):
            file = tarfile.TarInfo(name)
            file.mode, file.size = mode, len(text)
            tar.addfile(file, io.BytesIO(text.encode()))
        for name in ("python", f"python{minor}"):
            link = tarfile.TarInfo(f"usr/local/bin/{name}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "python3", 0o777
            tar.addfile(link)
    return buffer.getvalue()

"""Container images on the node: pull from any registry, unpack, lay out a container's root.

image = await pull("docker.io/library/python:3.13-slim", store=Path("images"))
make_root(image, Path("container"), read_only=True, mounts=["/tmp"])
run = process(image, Path("container"), command=None, args=None, env={})
"""

from __future__ import annotations

from streamops_sandbox.node.images.image import Image, ImageError
from streamops_sandbox.node.images.process import Process, process
from streamops_sandbox.node.images.pull import pull
from streamops_sandbox.node.images.root import make_root

__all__ = ["Image", "ImageError", "Process", "make_root", "process", "pull"]

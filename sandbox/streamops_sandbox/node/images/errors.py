"""What can go wrong with an image, in the words of the kubelet and containerd."""

from __future__ import annotations


class ImageError(Exception):
    """An image that cannot be had or run.

    `reason` is a container's waiting reason (ErrImagePull, InvalidImageName, ErrImageNeverPull,
    CreateContainerError, RunContainerError), `message` what the kubelet would show with it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

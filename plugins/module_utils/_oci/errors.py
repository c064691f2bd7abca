"""What can go wrong with an image; `str()` of one is what the module fails with."""

from __future__ import annotations

# Absolute: pylint of ansible-test does not follow a relative import to the base of an exception.
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError


class OciError(TaskError):
    """Base of the errors about images and registries."""


class OptionError(OciError):
    """An option is wrong; nothing was built."""


class FolderError(OciError):
    """The application folder holds what must not be in an image."""


class WheelError(OciError):
    """The dependencies cannot be had as wheels for the platform."""


class RegistryError(OciError):
    """A registry refuses, or does not answer.

    `status` is the HTTP status, None where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

"""What can go wrong with a bundle."""

from __future__ import annotations

from .._module.errors import TaskError


class BundleError(TaskError):
    """A bundle cannot be made or used; the message is what the module fails with."""

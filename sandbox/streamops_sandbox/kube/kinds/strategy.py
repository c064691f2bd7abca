"""Behaviour of one kind: the hooks, and a base class without any peculiarities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube.kinds.causes import Causes

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]


class Strategy:
    """Defaults, rules and side effects of one kind.

    `tracks_generation`: whether metadata.generation counts the changes of the desired state.
    `unconditional_update`: whether an update may leave out the resourceVersion.
    `create_on_update`: whether an update (PUT) of a missing object creates it.
    `returns_deleted`: whether a deletion is answered with the object instead of a Status.
    """

    tracks_generation = False
    unconditional_update = True
    create_on_update = False
    returns_deleted = False

    def default(self, obj: Json) -> None:
        """Fill in defaults, in place; has to be idempotent."""

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Set what the server decides at creation, in place."""

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Set what the server decides at an update, in place."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Collect the violations of an object."""

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Collect the violations of a change, besides those of the object itself."""

    def warnings(self, obj: Json) -> list[str]:
        """Return what the writer should know, though it is no error."""
        return []

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """React to a write that has happened."""

    def deleted(self, obj: Json, api: Api) -> None:
        """React to a removal that has happened."""

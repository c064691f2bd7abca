"""The hooks a kind can have; the base class is a kind without any peculiarities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]


class Strategy:
    """How one kind is defaulted, checked and what its writes cause.

    `tracks_generation`: whether metadata.generation counts the changes of the desired state.
    `unconditional_update`: whether an update may leave out the resourceVersion.
    """

    tracks_generation = False
    unconditional_update = True

    def default(self, obj: Json) -> None:
        """Fill in defaults, in place; has to be idempotent."""

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Set what the server decides at creation, in place."""

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Set what the server decides at an update, in place."""

    def validate(self, obj: Json) -> list[Json]:
        """Broken rules, as causes."""
        return []

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """Broken rules of a change, as causes."""
        return []

    def warnings(self, obj: Json) -> list[str]:
        """What the writer should know, though it is no error."""
        return []

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """React to a write that has happened."""

    def deleted(self, obj: Json, api: Api) -> None:
        """React to a removal that has happened."""

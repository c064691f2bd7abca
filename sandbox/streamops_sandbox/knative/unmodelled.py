"""Kinds that can be created but whose work the sandbox does not do: they say so."""

from __future__ import annotations

from streamops_sandbox.client import Client
from streamops_sandbox.controller import Controller, Object
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.reconciler import Reconciler


class Unmodelled(Reconciler):
    """Marks every object of its kind not Ready, reason `NotModelled`."""

    workers = 1

    def __init__(self, client: Client, api_version: str, kind: str) -> None:
        self.api_version, self.kind = api_version, kind  # type: ignore[misc] # one class, many kinds
        super().__init__(client)

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Say so."""
        conditions.false("Ready", "NotModelled", f"the sandbox does not model {self.kind}")


def unmodelled(client: Client, kinds: list[tuple[str, str]]) -> list[Controller]:
    """Return a reconciler for each (API version, kind)."""
    return [Unmodelled(client, api_version, kind) for api_version, kind in kinds]

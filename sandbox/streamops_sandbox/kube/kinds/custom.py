"""Custom resources, whatever their definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import crds
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]


class CustomResources(Strategy):
    """Every change of the spec is counted; updates need a resourceVersion."""

    tracks_generation = True
    unconditional_update = False

    def deleted(self, obj: Json, api: Api) -> None:
        """Let the definition go if this object was the last that its deletion waited for."""
        group = obj["apiVersion"].rpartition("/")[0]
        for resource in api.registry:
            if resource.group == group and resource.kind == obj["kind"]:
                crds.release(resource.collection, api)
                return

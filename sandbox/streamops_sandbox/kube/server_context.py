"""The components of one API server, as its request handlers use them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.conversion import Conversion
from streamops_sandbox.kube.deletion import Deletion
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.patching import Patching
from streamops_sandbox.kube.webhooks import Webhooks


@dataclass(slots=True)
class ServerContext:
    """Storage, writers and converters that resource requests need."""

    api: Api
    objects: Objects
    deletion: Deletion
    patching: Patching
    conversion: Conversion
    webhooks: Webhooks
    #: Watches being served; ended when the server stops.
    watches: set[asyncio.Task[object]] = field(default_factory=set)

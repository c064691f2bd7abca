"""The assembled parts of one API server, as the HTTP side uses them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sandbox.kube.api import Api
from sandbox.kube.conversion import Conversion
from sandbox.kube.deletion import Deletion
from sandbox.kube.objects import Objects
from sandbox.kube.patching import Patching
from sandbox.kube.webhooks import Webhooks


@dataclass(slots=True)
class Parts:
    """Everything a resource request may need."""

    api: Api
    objects: Objects
    deletion: Deletion
    patching: Patching
    conversion: Conversion
    webhooks: Webhooks
    #: Watches being served; ended when the server stops.
    watches: set[asyncio.Task[object]] = field(default_factory=set)

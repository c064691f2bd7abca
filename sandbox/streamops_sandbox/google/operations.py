"""Long-running operations: PENDING, then RUNNING while their work goes on, then DONE.

https://cloud.google.com/apis/design/standard_methods and, for GKE's own kind,
https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.operations.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from streamops_sandbox.google.discovery import Method
from streamops_sandbox.google.errors import GoogleError
from streamops_sandbox.google.projects import now
from streamops_sandbox.google.service import Call, serves
from streamops_sandbox.objects import Object

#: Seconds an operation stays PENDING, and at least RUNNING; long enough to be seen.
PENDING_SECONDS = 0.05
RUNNING_SECONDS = 0.15
Work = Callable[[], Awaitable[dict[str, Any]]]
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OperationFault:
    """How the next operation of a type ends, or that it hangs: planned by a test."""

    type: str
    message: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Operation:
    """One operation; `type` is GKE's name of it or the method's, `target` what it works on."""

    name: str
    service: str
    type: str
    target: str
    status: str = "PENDING"
    started: str = field(default_factory=now)
    ended: str = ""
    response: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def standard(self) -> dict[str, Any]:
        """As google.longrunning.Operation."""
        shown: dict[str, Any] = {"name": self.name}
        if self.status == "DONE":
            shown |= {"error": self.error} if self.error else {"response": self.response}
            shown["done"] = True
        return shown

    def container(self, base_url: str) -> dict[str, Any]:
        """As GKE's Operation."""
        _, _, _, location, _, short = self.name.split("/")
        shown: dict[str, Any] = {
            "name": short,
            "operationType": self.type,
            "status": self.status,
            "selfLink": f"{base_url}/v1/{self.name}",
            "targetLink": f"{base_url}/v1/{self.target}",
            "startTime": self.started,
            "zone": location,
            "location": location,
        }
        if self.status == "DONE":
            shown["endTime"] = self.ended
        else:
            configuring = str(int(self.status != "PENDING"))
            metrics = {"CLUSTER_CONFIGURING": configuring, "CLUSTER_CONFIGURING_TOTAL": "1"}
            listed = [{"name": name, "intValue": value} for name, value in metrics.items()]
            shown["progress"] = {"metrics": listed}
        if self.error:
            shown |= {"error": self.error, "statusMessage": self.error["message"]}
        return shown


class Operations:
    """All operations by name, and the faults that tests plan for them."""

    def __init__(self) -> None:
        self._all: dict[str, Operation] = {}
        self.faults: list[OperationFault] = []

    def start(
        self, prefix: str, method: Method, target: str, work: Work, type_: str = ""
    ) -> Operation:
        """Begin an operation named `PREFIX/…`; its response is what `work` returns.

        `type_` is GKE's name of what it does, where it is not the method's.
        """
        short = f"operation-{uuid.uuid4()}" if type_ else str(uuid.uuid4())
        operation = Operation(f"{prefix}/{short}", method.service, type_ or method.id, target)
        self._all[operation.name] = operation
        operation.task = asyncio.create_task(self._run(operation, work))
        return operation

    def get(self, name: str) -> Operation:
        """The operation, or NOT_FOUND."""
        if name not in self._all:
            raise GoogleError("NOT_FOUND", f"Operation not found: {name}")
        return self._all[name]

    @serves("serviceusage.operations.get", "artifactregistry.projects.locations.operations.get")
    async def _read(self, call: Call) -> Object:
        return self.get(call.resource).standard()

    def service_of(self, name: str) -> str:
        """The service an operation belongs to; "" where there is none of that name."""
        operation = self._all.get(name)
        return operation.service if operation else ""

    def running(self, target: str) -> Operation | None:
        """The operation that works on `target` now."""
        return next((o for o in self._all.values() if o.target == target and not o.ended), None)

    async def close(self) -> None:
        """Stop what still runs."""
        tasks = [o.task for o in self._all.values() if o.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, operation: Operation, work: Work) -> None:
        await asyncio.sleep(PENDING_SECONDS)
        operation.status = "RUNNING"
        try:
            fault = next((f for f in self.faults if f.type == operation.type), None)
            if fault:
                self.faults.remove(fault)
                await asyncio.sleep(fault.seconds)
                if fault.message:
                    raise GoogleError("INTERNAL", fault.message)
            begun = asyncio.get_running_loop().time()
            operation.response = await work()
            spent = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(max(0.0, RUNNING_SECONDS - spent))
        except GoogleError as error:
            operation.error = {"code": 13, "message": error.message}
        except Exception as error:
            _logger.exception("%s on %s", operation.type, operation.target)
            operation.error = {"code": 13, "message": f"Internal error: {error}"}
        operation.ended = now()
        operation.status = "DONE"

"""A Kubernetes Lease: of several producers only its holder reads and delivers.

Contract: as client-go's leader election has it, with whole seconds and no clock of another machine:
a lease is free when it did not change for its duration as seen from here.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

from twitter_producer.kubernetes import Kubernetes, KubernetesError
from twitter_producer.shutdown import Heartbeat, Shutdown

log = logging.getLogger(__name__)

#: Shares of the duration: between two renewals, between two attempts of one, for one request, and
#: until a holder that could not renew stops, which is before another may begin.
_RENEWAL, _RETRY, _ATTEMPT, _DEADLINE = 1 / 3, 1 / 15, 1 / 6, 2 / 3


class Lease:
    """Acquires a Lease, renews it from a thread of its own, and gives it back."""

    def __init__(
        self, kubernetes: Kubernetes, name: str, holder: str, duration: int, shutdown: Shutdown
    ) -> None:
        self._kubernetes, self._name, self._holder = kubernetes, name, holder
        self._duration, self._shutdown = duration, shutdown
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{kubernetes.namespace}/leases"
        self._object: dict[str, Any] = {}
        self._seen: tuple[Any, float] = (None, 0.0)
        self._released = threading.Event()
        self._held = False
        self._renewed = 0.0
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.lost = False

    def acquire(self, heartbeat: Heartbeat) -> bool:
        """Wait until the Lease is held; False if the shutdown is requested first."""
        waiting_for = None
        while not self._shutdown:
            heartbeat.beat(self._duration)
            other = None
            began = _now()
            try:
                other = self._try()
            except KubernetesError as error:
                log.warning("the lease cannot be acquired", extra={"error": self._advice(error)})
            else:
                if other is None:
                    self._held, self._renewed = True, began
                    log.info("holds the lease", extra={"lease": self._name})
                    self._thread.start()
                    return True
            if other and other != waiting_for:
                waiting_for = other
                log.info("waits for the lease", extra={"lease": self._name, "holder": other})
            self._shutdown.wait(self._duration / 5)
        return False

    def valid(self) -> bool:
        """Return whether the Lease is still held, by the clock that runs on while this is paused.

        To be asked before anything that only the holder may do: a process that was stopped for
        longer than the duration continues in the middle of its work.
        """
        if self._held and not self.lost and _now() - self._renewed > self._duration * _DEADLINE:
            self._lose("it was not renewed in time")
        return self._held and not self.lost

    def release(self) -> None:
        """Give the Lease back if it is held, so that the next holder need not wait."""
        self._released.set()
        if not self.valid():
            return
        self._thread.join(self._kubernetes_seconds * 3)
        try:
            if not self._renew(holder="", duration=1):
                log.info("the lease has another holder already", extra={"lease": self._name})
        except KubernetesError as error:
            log.warning("the lease is left to expire", extra={"error": str(error)})

    def _try(self) -> str | None:
        """Return who else holds the Lease; None if it is held from here now."""
        self._object = self._read()
        spec = self._object.get("spec") or {}
        holder = spec.get("holderIdentity")
        record = (holder, spec.get("renewTime"))
        if record != self._seen[0]:
            self._seen = (record, time.monotonic())
        unchanged = time.monotonic() - self._seen[1]
        expired = unchanged >= (spec.get("leaseDurationSeconds") or self._duration)
        if holder and holder != self._holder and not expired:
            return str(holder)
        try:
            self._write(self._holder, self._duration, self._kubernetes_seconds)
        except KubernetesError as error:
            if error.status != 409:
                raise
            return str(holder or "another")  # or an own write, which the next attempt finds
        return None

    @property
    def _kubernetes_seconds(self) -> float:
        return self._duration * _ATTEMPT

    def _read(self) -> dict[str, Any]:
        path = f"{self._collection}/{self._name}"
        try:
            return self._kubernetes.request("GET", path, seconds=self._kubernetes_seconds)
        except KubernetesError as error:
            if error.status != 404:
                raise
            return {}

    def _renew(self, holder: str, duration: int) -> bool:
        """Write the Lease again; False if another producer holds it.

        A conflict may come of an own write whose answer was lost, or of a change of labels.
        """
        try:
            self._write(holder, duration, self._kubernetes_seconds)
            return True
        except KubernetesError as error:
            if error.status not in {404, 409}:
                raise
        stored = self._read()
        stored_holder = (stored.get("spec") or {}).get("holderIdentity") or ""
        if stored and stored_holder not in {self._holder, holder}:
            return False
        self._object = stored
        self._write(holder, duration, self._kubernetes_seconds)
        return True

    def _write(self, holder: str, duration: int, seconds: float) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        old = self._object.get("spec") or {}
        changed = old.get("holderIdentity") != holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": now if changed else old.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": (old.get("leaseTransitions") or 0) + int(changed and bool(old)),
        }
        if not self._object:
            body: dict[str, Any] = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": spec,
            }
            self._object = self._kubernetes.request("POST", self._collection, body, seconds)
            return
        path = f"{self._collection}/{self._name}"
        body = {**self._object, "spec": spec}
        self._object = self._kubernetes.request("PUT", path, body, seconds)

    def _keep(self) -> None:
        wait = self._duration * _RENEWAL
        while not self._released.wait(wait):
            began = _now()
            try:
                if not self._renew(self._holder, self._duration):
                    self._lose("another producer holds it")
                    return
                self._renewed = began
                wait = self._duration * _RENEWAL
            except KubernetesError as error:
                wait = self._duration * _RETRY
                log.warning("the lease is not renewed", extra={"error": self._advice(error)})
            if not self.valid():
                return

    def _lose(self, reason: str) -> None:
        self.lost = True
        log.error("the lease is lost: another producer may deliver now", extra={"reason": reason})
        self._shutdown.set()

    def _advice(self, error: KubernetesError) -> str:
        if error.status != 403 or self._object:
            return str(error)
        return (
            f"Lease {self._name} does not exist and this service account may not create it: "
            f"run the pipeline's playbook again, or allow create on leases: {error}"
        )


def _now() -> float:
    """Return seconds of a clock that cannot jump and does not stop while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

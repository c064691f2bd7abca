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
from twitter_producer.stopping import Heartbeat, Stop

log = logging.getLogger(__name__)


class Lease:
    """Acquires a Lease, keeps it from a thread of its own, and gives it back."""

    def __init__(
        self, kubernetes: Kubernetes, name: str, holder: str, duration: int, stop: Stop
    ) -> None:
        self._kubernetes, self._name, self._holder = kubernetes, name, holder
        self._duration, self._stop = duration, stop
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{kubernetes.namespace}/leases"
        self._object: dict[str, Any] = {}
        self._seen: tuple[Any, float] = (None, 0.0)
        self._released = threading.Event()
        self._held = False
        self.lost = False

    def acquire(self, heartbeat: Heartbeat) -> bool:
        """Wait until the Lease is held; False if the end was asked for first."""
        waiting_for = None
        while not self._stop:
            heartbeat.beat(self._duration)
            try:
                other = self._try()
            except KubernetesError as error:
                log.warning("the lease cannot be acquired", extra={"error": str(error)})
                other = None
            else:
                if other is None:
                    self._held = True
                    log.info("holds the lease", extra={"lease": self._name})
                    threading.Thread(target=self._keep, name="lease", daemon=True).start()
                    return True
            if other and other != waiting_for:
                waiting_for = other
                log.info("waits for the lease", extra={"lease": self._name, "holder": other})
            self._stop.wait(self._duration / 5)
        return False

    def release(self) -> None:
        """Give the Lease back if it is held, so that the next holder need not wait."""
        self._released.set()
        if not self._held or self.lost:
            return
        try:
            self._write(holder="", duration=1)
        except KubernetesError as error:
            log.warning("the lease is left to expire", extra={"error": str(error)})

    def _try(self) -> str | None:
        """Return who else holds the Lease; None if it is held from here now."""
        try:
            self._object = self._kubernetes.request("GET", f"{self._collection}/{self._name}")
        except KubernetesError as error:
            if error.status != 404:
                raise
            self._object = {}
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
            self._write(self._holder, self._duration)
        except KubernetesError as error:
            if error.status != 409:
                raise
            return str(holder or "another")
        return None

    def _write(self, holder: str, duration: int) -> None:
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
            self._object = self._kubernetes.request("POST", self._collection, body)
            return
        body = {**self._object, "spec": spec}
        self._object = self._kubernetes.request("PUT", f"{self._collection}/{self._name}", body)

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._released.wait(self._duration / 3):
            try:
                self._write(self._holder, self._duration)
                renewed = time.monotonic()
                continue
            except KubernetesError as error:
                taken = error.status == 409
                log.warning("the lease is not renewed", extra={"error": str(error)})
            # Stop before anyone else may begin.
            if taken or time.monotonic() - renewed > self._duration * 2 / 3:
                self.lost = True
                log.error("the lease is lost: another producer may deliver now")
                self._stop.set()
                return

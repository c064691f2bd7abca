"""GKE clusters: what is there, what is wanted, and the steps between."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils import _gke_settings as settings
from ansible_collections.streamops.knative.plugins.module_utils._gcp_errors import (
    ConfigError,
    GcpError,
    NotFound,
    OperationTimeout,
)
from ansible_collections.streamops.knative.plugins.module_utils._gcp_session import Session
from ansible_collections.streamops.knative.plugins.module_utils._gcp_task import (
    Plan,
    merged_labels,
)

Json = dict[str, Any]


class Clusters:
    """Clusters of one project and location. `wait_timeout` in seconds, for each operation."""

    def __init__(self, session: Session, location: str, wait_timeout: float) -> None:
        self._session = session
        self._parent = f"projects/{session.project}/locations/{location}"
        self._timeout = wait_timeout

    def find(self, name: str) -> Json | None:
        """The cluster, or None."""
        try:
            return self._session.get("container", f"v1/{self._parent}/clusters/{name}")
        except NotFound:
            return None

    def all(self) -> list[Json]:
        """The clusters of the location (`-` for all locations)."""
        return list(self._session.pages("container", f"v1/{self._parent}/clusters", "clusters"))

    def plan_present(self, params: Json) -> Plan:
        """Steps that make the cluster as the options ask."""
        settings.check(params)
        name = params["name"]
        wanted = settings.wanted_values(params, self._session.project)
        current = self.find(name)
        if current and current["status"] == "STOPPING":
            self._settle(name, "STOPPING")
            current = None
        if current and current["status"] == "PROVISIONING":
            current = self._settle(name, "PROVISIONING")
        if current is None:
            return self._plan_creation(params, wanted)
        _refuse_broken(current)
        plan = self._plan_update(params, wanted, current)
        if current["status"] == "DEGRADED":
            plan.warnings.append(f"Cluster {name} is DEGRADED: {_condition(current)}")
        return plan

    def plan_absent(self, params: Json) -> Plan:
        """Steps that delete the cluster; refused while it is protected."""
        name = params["name"]
        current = self.find(name)
        plan = Plan(result={"cluster": None})
        if current is None:
            return plan
        if params["deletion_protection"]:
            raise ConfigError(
                f"cluster {name} is protected: deleting it deletes everything that runs in it. To go"
                " on, set deletion_protection: false."
            )
        plan.before = {"cluster": name, "location": current["location"]}
        if current["status"] == "STOPPING":
            plan.add(f"wait for the deletion of {name}", lambda: self._settle(name, "STOPPING"))
        else:
            plan.add(f"delete cluster {name}", lambda: self._delete(name, current["status"]))
        return plan

    def _plan_creation(self, params: Json, wanted: Json) -> Plan:
        name = params["name"]
        body = settings.new_cluster(params, wanted)
        plan = Plan(after=_shown(body), result={"cluster": {"name": name}})

        def create() -> None:
            operation = self._session.post(
                "container", f"v1/{self._parent}/clusters", {"cluster": body}
            )
            self._wait(operation)
            plan.result["cluster"] = trimmed(self._require(name))

        plan.add(f"create cluster {name}", create)
        return plan

    def _plan_update(self, params: Json, wanted: Json, current: Json) -> Plan:
        plan = Plan(result={"cluster": trimmed(current)})
        immutable = [
            f"{s.option} is {s.of(current)!r}, not {wanted[s.option]!r}"
            for s in settings.SETTINGS
            if s.update is None
            and s.option in wanted
            and not settings.same(s, wanted[s.option], s.of(current))
        ]
        immutable += self._plan_passthrough(plan, params, current)
        immutable += self._plan_node_pool(plan, params, current)
        if immutable:
            raise ConfigError(
                f"cluster {params['name']} exists, and this cannot be changed:"
                f" {'; '.join(immutable)}. Take over what is there, or delete the cluster and create"
                " it anew."
            )
        for setting in settings.SETTINGS:
            if setting.option in wanted and setting.update:
                now, value = setting.of(current), wanted[setting.option]
                if not settings.same(setting, value, now):
                    update = functools.partial(self._update, params["name"], setting.update(value))
                    _note(plan, setting.option, now, value, update)
        self._plan_labels(plan, params, current)
        self._plan_maintenance(plan, params, current)
        if plan.steps:
            self._finish(plan, params["name"], current)
        return plan

    def _finish(self, plan: Plan, name: str, current: Json) -> None:
        """Wait for others' operations before the first step, and read the cluster after the last."""
        words, first = plan.steps[0]

        def begin() -> None:
            if current["status"] == "RECONCILING":
                self._settle(name, "RECONCILING")
            first()

        plan.steps[0] = (words, begin)
        words, last = plan.steps[-1]

        def end() -> None:
            last()
            plan.result["cluster"] = trimmed(self._require(name))

        plan.steps[-1] = (words, end)

    def _plan_passthrough(self, plan: Plan, params: Json, current: Json) -> list[str]:
        refused = []
        for field, value in (params["cluster"] or {}).items():
            if settings.covers(current.get(field), value):
                continue
            if field in settings.PASSTHROUGH_UPDATES:
                body = {settings.PASSTHROUGH_UPDATES[field]: value}
                update = functools.partial(self._update, params["name"], body)
                _note(plan, field, current.get(field), value, update)
            else:
                refused.append(f"cluster.{field} is {current.get(field)!r}, not {value!r}")
        return refused

    def _plan_node_pool(self, plan: Plan, params: Json, current: Json) -> list[str]:
        """The pool of a Standard cluster: its limits and machine type change, the rest does not."""
        options = params["node_pool"]
        if not options or current.get("autopilot", {}).get("enabled"):
            return []
        wanted = settings.node_pool(options, params)
        name = wanted["name"]
        pools = {pool["name"]: pool for pool in current.get("nodePools", [])}
        path = f"v1/{self._parent}/clusters/{params['name']}/nodePools"
        if name not in pools:
            step = functools.partial(self._change, "post", path, {"nodePool": wanted})
            _note(plan, f"node pool {name}", None, wanted, step)
            return []
        pool = pools[name]
        refused = []
        if bool(options.get("spot")) != bool(pool["config"].get("spot")):
            refused.append(f"node_pool.spot of {name} is {bool(pool['config'].get('spot'))}")
        if any(options.get(key) for key in ("min_nodes", "max_nodes")):
            scaling = wanted["autoscaling"]
            if not settings.covers(pool.get("autoscaling"), scaling):
                step = functools.partial(
                    self._change, "post", f"{path}/{name}:setAutoscaling", {"autoscaling": scaling}
                )
                _note(plan, f"autoscaling of {name}", pool.get("autoscaling"), scaling, step)
        machine = options.get("machine_type")
        if machine and machine != pool["config"].get("machineType"):
            step = functools.partial(
                self._change, "put", f"{path}/{name}", {"machineType": machine}
            )
            _note(plan, f"machine type of {name}", pool["config"]["machineType"], machine, step)
        return refused

    def _plan_labels(self, plan: Plan, params: Json, current: Json) -> None:
        if params["labels"] is None:
            return
        now = current.get("resourceLabels", {})
        labels = merged_labels(now, params["labels"], purge=params["purge_labels"])
        if labels != now:
            step = functools.partial(self._set_labels, params["name"], labels)
            _note(plan, "labels", now, labels, step)

    def _plan_maintenance(self, plan: Plan, params: Json, current: Json) -> None:
        if not params["maintenance_window"]:
            return
        window = settings.maintenance_window(params["maintenance_window"])
        now = current.get("maintenancePolicy", {}).get("window", {})
        if not settings.covers(now, window):
            step = functools.partial(self._set_maintenance, params["name"], window)
            _note(plan, "maintenance_window", now, window, step)

    def _update(self, name: str, update: Json) -> None:
        self._change("put", f"v1/{self._parent}/clusters/{name}", {"update": update})

    def _set_labels(self, name: str, labels: Json) -> None:
        def attempt() -> None:
            fingerprint = self._require(name).get("labelFingerprint", "")
            body = {"resourceLabels": labels, "labelFingerprint": fingerprint}
            self._change("post", f"v1/{self._parent}/clusters/{name}:setResourceLabels", body)

        self._session.read_modify_write(attempt)

    def _set_maintenance(self, name: str, window: Json) -> None:
        """Replace the recurring window; exclusions that are there stay."""

        def attempt() -> None:
            policy = dict(self._require(name).get("maintenancePolicy", {}))
            exclusions = policy.get("window", {}).get("maintenanceExclusions", {})
            policy["window"] = {**window, "maintenanceExclusions": exclusions}
            path = f"v1/{self._parent}/clusters/{name}:setMaintenancePolicy"
            self._change("post", path, {"maintenancePolicy": policy})

        self._session.read_modify_write(attempt)

    def _change(self, verb: str, path: str, body: Json) -> None:
        call: Callable[..., Json] = getattr(self._session, verb)
        self._wait(call("container", path, body))

    def _delete(self, name: str, status: str) -> None:
        if status in ("PROVISIONING", "RECONCILING"):
            self._settle(name, status)
        self._wait(self._session.delete("container", f"v1/{self._parent}/clusters/{name}"))

    def _wait(self, operation: Json) -> None:
        self._session.wait_container(self._parent, operation, self._timeout)

    def _settle(self, name: str, status: str) -> Json | None:
        """Wait until the cluster has left a state that somebody else's operation put it in."""
        deadline = time.monotonic() + self._timeout
        pause = 0.5
        while True:
            current = self.find(name)
            if current is None or current["status"] != status:
                return current
            if time.monotonic() > deadline:
                raise OperationTimeout(
                    f"cluster {name} is still {status} after {self._timeout:g} s (option"
                    " wait_timeout), by an operation that was begun before. Run this again."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 10.0)

    def _require(self, name: str) -> Json:
        current = self.find(name)
        if current is None:
            raise GcpError(f"cluster {name} has gone while it was worked on")
        return current


def trimmed(cluster: Json) -> Json:
    """The cluster without client certificates and keys that old clusters have."""
    auth = cluster.get("masterAuth", {})
    kept = {k: v for k, v in auth.items() if k == "clusterCaCertificate"}
    return {**cluster, "masterAuth": kept}


def _note(plan: Plan, what: str, before: Any, after: Any, step: Callable[[], object]) -> None:
    plan.before[what], plan.after[what] = before, after
    plan.add(f"change {what}", step)


def _shown(body: Json) -> Json:
    return {key: value for key, value in body.items() if value not in ({}, [], "")}


def _refuse_broken(cluster: Json) -> None:
    if cluster["status"] == "ERROR":
        raise GcpError(
            f"cluster {cluster['name']} is in ERROR: {_condition(cluster)} It cannot be used or"
            " changed. Delete it (state: absent, deletion_protection: false) and create it anew."
        )


def _condition(cluster: Json) -> str:
    messages = [c.get("message", "") for c in cluster.get("conditions", [])]
    text = (
        "; ".join(m for m in messages if m) or cluster.get("statusMessage") or "(no reason given)."
    )
    return text if text.endswith(".") else f"{text}."

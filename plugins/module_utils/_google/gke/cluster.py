"""GKE clusters: what is there, what is wanted, and the steps between."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigError, FailedPrecondition, GcpError
from ..plan import Plan, merged_labels
from ..session import Session
from . import settings, versions

Json = dict[str, Any]
_Result = TypeVar("_Result")


class Clusters:
    """Clusters of one project and location. `wait_timeout` in seconds, for each operation."""

    def __init__(self, session: Session, location: str, wait_timeout: float) -> None:
        self._session = session
        self._parent = f"projects/{session.project}/locations/{location}"
        self._timeout = wait_timeout

    def find(self, name: str) -> Json | None:
        """Return the cluster, or None."""
        return self._session.find("container", f"v1/{self._parent}/clusters/{name}")

    def all(self) -> list[Json]:
        """Return the clusters of the location (`-` for all locations); a warning names zones that are missing."""
        path = f"v1/{self._parent}/clusters"
        return list(self._session.pages("container", path, "clusters", partial=True))

    def server_config(self) -> Json:
        """Return which versions of Kubernetes the location offers."""
        return self._session.get("container", f"v1/{self._parent}/serverConfig")

    def plan_present(self, params: Json) -> Plan:
        """Return steps that make the cluster as the options ask."""
        settings.check(params)
        name = params["name"]
        wanted = settings.wanted_values(params, self._session)
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
        if plan.steps and current["status"] == "RECONCILING" and not self._session.check_mode:
            self._settle(name, "RECONCILING")  # what is under way may be what is wanted
            return self.plan_present(params)
        if current["status"] == "DEGRADED":
            plan.warnings.append(f"Cluster {name} is DEGRADED: {_condition(current)}")
        return plan

    def plan_absent(self, params: Json) -> Plan:
        """Return steps that delete the cluster; refused while it is protected."""
        name = params["name"]
        settings.check_name(name, params["location"])
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
            plan.add(f"delete cluster {name}", lambda: self._delete(name))
        return plan

    def _plan_creation(self, params: Json, wanted: Json) -> Plan:
        name = params["name"]
        body = settings.new_cluster(params, wanted)
        if version := params["kubernetes_version"]:
            channel = params["release_channel"] or versions.DEFAULT_CHANNEL
            versions.check_offered(version, "", channel, self.server_config())
            body["initialClusterVersion"] = version
        after = {key: value for key, value in body.items() if value not in ({}, [], "")}
        plan = Plan(after=after, result={"cluster": {"name": name}, "planned": True})

        def create() -> None:
            operation = self._session.post(
                "container", f"v1/{self._parent}/clusters", {"cluster": body}
            )
            self._wait(operation)
            plan.result |= {"cluster": trimmed(self._require(name)), "planned": False}

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
                f"cluster {params['name']} exists, and this cannot be changed here:"
                f" {'; '.join(immutable)}. Take over what is there, or delete the cluster and create"
                " it anew."
            )
        for setting in settings.SETTINGS:
            if setting.option in wanted and setting.update:
                now, value = setting.of(current), wanted[setting.option]
                if not settings.same(setting, value, now):
                    update = functools.partial(self._update, params["name"], setting.update(value))
                    _note(plan, setting.option, now, value, update)
        self._plan_upgrade(plan, params, current)
        self._plan_labels(plan, params, current)
        self._plan_maintenance(plan, params, current)
        if plan.steps:
            self._finish(plan, params["name"])
        return plan

    def _finish(self, plan: Plan, name: str) -> None:
        """Read the cluster after the last step."""
        words, last = plan.steps[-1]

        def end() -> None:
            last()
            plan.result["cluster"] = trimmed(self._require(name))

        plan.steps[-1] = (words, end)

    def _plan_upgrade(self, plan: Plan, params: Json, current: Json) -> None:
        """Upgrade a control plane that is older than asked for; GKE's own upgrades go on from there."""
        wanted, now = params["kubernetes_version"], current["currentMasterVersion"]
        if not wanted or versions.number(now) >= versions.number(wanted):
            return
        channel = params["release_channel"] or current.get("releaseChannel", {}).get("channel", "")
        versions.check_offered(wanted, now, channel, self.server_config())
        update = functools.partial(self._update, params["name"], {"desiredMasterVersion": wanted})
        _note(plan, "kubernetes_version", now, wanted, update)

    def _plan_passthrough(self, plan: Plan, params: Json, current: Json) -> list[str]:
        refused = []
        for field, value in (params["cluster"] or {}).items():
            now = current.get(field)
            if settings.covers(now, value):
                continue
            if field in settings.PASSTHROUGH_UPDATES:
                body = {settings.PASSTHROUGH_UPDATES[field]: value}
                update = functools.partial(self._update, params["name"], body)
                _note(plan, field, now, settings.overlaid(now, value), update)
            else:
                refused.append(f"cluster.{field} is {now!r}, not {value!r}")
        return refused

    def _plan_node_pool(self, plan: Plan, params: Json, current: Json) -> list[str]:
        """Plan the pool of a Standard cluster: its limits and machine type change, the rest does not."""
        options = params["node_pool"]
        if not options or current.get("autopilot", {}).get("enabled"):
            return []
        name = settings.pool_name(options)
        pools = {pool["name"]: pool for pool in current.get("nodePools", [])}
        path = f"v1/{self._parent}/clusters/{params['name']}/nodePools"
        if name not in pools:
            wanted = settings.node_pool(options, params)
            step = functools.partial(
                self._change, params["name"], "post", path, {"nodePool": wanted}
            )
            _note(plan, f"node pool {name}", None, wanted, step)
            return []
        config, scaling = pools[name].get("config", {}), pools[name].get("autoscaling", {})
        limits = settings.limits(options, scaling)
        if limits is not None and not settings.covers(scaling, limits):
            body = {"autoscaling": settings.overlaid(scaling, limits)}
            step = functools.partial(
                self._change, params["name"], "post", f"{path}/{name}:setAutoscaling", body
            )
            _note(plan, f"autoscaling of {name}", scaling, body["autoscaling"], step)
        machine, now = options.get("machine_type"), config.get("machineType")
        if machine and machine != now:
            step = functools.partial(
                self._change, params["name"], "put", f"{path}/{name}", {"machineType": machine}
            )
            _note(plan, f"machine type of {name}", now, machine, step)
        fixed = (
            ("spot", bool(config.get("spot"))),
            ("service_account", config.get("serviceAccount", "default")),
        )
        return [
            f"node_pool.{option} of {name} is {there!r}, not {options[option]!r}"
            for option, there in fixed
            if options.get(option) not in (None, there)
        ]

    def _plan_labels(self, plan: Plan, params: Json, current: Json) -> None:
        if params["labels"] is None:
            return
        now = current.get("resourceLabels", {})
        labels = merged_labels(now, params["labels"], purge=params["purge_labels"])
        if labels != now:
            body = {
                "resourceLabels": labels,
                "labelFingerprint": current.get("labelFingerprint", ""),
            }
            path = f"v1/{self._parent}/clusters/{params['name']}:setResourceLabels"
            step = functools.partial(self._change, params["name"], "post", path, body)
            _note(plan, "labels", now, labels, step)

    def _plan_maintenance(self, plan: Plan, params: Json, current: Json) -> None:
        """Replace the window; exclusions that are there stay."""
        if not params["maintenance_window"]:
            return
        window = settings.maintenance_window(params["maintenance_window"])
        policy = current.get("maintenancePolicy", {})
        now = policy.get("window", {})
        if not settings.covers(now, window):
            exclusions = now.get("maintenanceExclusions", {})
            kept = {"maintenanceExclusions": exclusions} if exclusions else {}
            body = {"maintenancePolicy": {**policy, "window": {**window, **kept}}}
            path = f"v1/{self._parent}/clusters/{params['name']}:setMaintenancePolicy"
            step = functools.partial(self._change, params["name"], "post", path, body)
            _note(plan, "maintenance_window", now, {**window, **kept}, step)

    def _update(self, name: str, update: Json) -> None:
        path = f"v1/{self._parent}/clusters/{name}"
        self._change(name, "put", path, {"update": update})

    def _change(self, name: str, verb: str, path: str, body: Json) -> None:
        call: Callable[..., Json] = getattr(self._session, verb)
        self._wait(self._when_idle(name, lambda: call("container", path, body)))

    def _delete(self, name: str) -> None:
        path = f"v1/{self._parent}/clusters/{name}"
        operation = self._when_idle(name, lambda: self._session.delete("container", path))
        if operation:
            self._wait(operation)

    def _when_idle(self, name: str, call: Callable[[], _Result]) -> _Result:
        """Do what needs a cluster without an operation on it: GKE begins some by itself."""
        for waited in self._session.polls(self._timeout):
            try:
                return call()
            except FailedPrecondition as error:
                if "incompatible operation" not in error.message:
                    raise
                if waited is None:
                    raise GcpError(
                        f"cluster {name} is busy for more than {self._timeout:g} s (option"
                        f" wait_timeout): {error.message} Run this again."
                    ) from error
                self._session.progress(f"{name}: {error.message}")
        raise AssertionError("unreachable")

    def _wait(self, operation: Json) -> None:
        self._session.wait_container(self._parent, operation, self._timeout)

    def _settle(self, name: str, status: str) -> Json | None:
        """Wait until a concurrent operation on the cluster has ended."""
        for waited in self._session.polls(self._timeout):
            current = self.find(name)
            if current is None or current["status"] != status:
                return current
            if waited is None:
                break
        raise GcpError(
            f"cluster {name} is still {status} after {self._timeout:g} s (option wait_timeout), by an"
            " operation that was begun before. Run this again."
        )

    def _require(self, name: str) -> Json:
        current = self.find(name)
        if current is None:
            raise GcpError(f"cluster {name} has gone while it was worked on")
        return current


def trimmed(cluster: Json) -> Json:
    """Return the cluster without client certificates and keys that old clusters have."""
    auth = cluster.get("masterAuth", {})
    kept = {k: v for k, v in auth.items() if k == "clusterCaCertificate"}
    return {**cluster, "masterAuth": kept}


def _note(plan: Plan, what: str, before: Any, after: Any, step: Callable[[], object]) -> None:
    plan.before[what], plan.after[what] = before, after
    plan.add(f"change {what}", step)


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

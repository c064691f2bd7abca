# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Action plugin of streamops.knative.summary: what a cluster has, where to look, and what to run next."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.utils.vars import load_extra_vars

from ..plugin_utils._in_process import in_process
from ..plugin_utils._plain_output import show
from ..plugin_utils._templates import render

COLLECTION = Path(__file__).resolve().parents[2]
NAME = "streamops.knative"
#: Options of this action that the module knative_info does not have.
GIVEN = ("pipelines", "probes", "images", "changes")
VIEWER_PODS = "app.kubernetes.io/name=event-viewer"

Json = dict[str, Any]


class ActionModule(in_process("knative_info")):  # type: ignore[misc]  # made when it is loaded
    """See plugins/modules/summary.py, which documents it."""

    def execute(self, args: Json, variables: Json) -> Json:
        """Read Knative, unless in check mode; show and return all that is known of the cluster."""
        template = args.pop("template")
        given = {name: args.pop(name, None) or [] for name in GIVEN}
        found: Json = {} if self._task.check_mode else super().execute(args, variables)
        if found.get("failed"):
            return found
        summary: Json = {"changes": given["changes"]}
        if found:
            kubectl = _kubectl(args.get("kubeconfig"), args.get("context"))
            probes = [probe for probe in given["probes"] if "hops" in probe]
            summary |= {
                "viewers": [_viewer(service, found, kubectl) for service in found["services"]],
                "events": max((probe["events"] for probe in probes), default=None),
                "pipelines": [_pipeline(pipeline) for pipeline in given["pipelines"]],
                "probes": [_probe(probe) for probe in probes],
                "kubeconfig": config if isinstance(config := args.get("kubeconfig"), str) else None,
                "versions": {"kubernetes": found["kubernetes"], **found["installed"]},
                "images": given["images"] or {},
                "commands": self._commands(given["pipelines"], kubectl),
            }
        result = {"changed": False, "summary": summary}
        (shown,) = render(self, [{"path": template, "vars": {"found": summary}}], variables)
        if show(variables["inventory_hostname"], f"\n{shown['text'].rstrip()}"):
            return result
        return {**result, "msg": shown["text"].splitlines(), "_ansible_verbose_always": True}

    def _commands(self, pipelines: list[Json], kubectl: str) -> Json:
        """Return what to run next, as it runs in this folder and with this inventory."""
        arguments = _arguments(load_extra_vars(self._loader))
        commands = {
            name: f"ansible-playbook {arguments}{_playbook(name)}"
            for name in ("verify", "site", "teardown")
        }
        commands["teardown"] += " -e teardown_confirm=yes"
        if pipelines:
            space = pipelines[0]["namespace"]
            commands["look"] = f"{kubectl} -n {space} get ksvc,sinkbinding,pods"
        return commands


def _kubectl(kubeconfig: Any, kube_context: str | None) -> str:
    words = [f"KUBECONFIG={shlex.quote(kubeconfig)}"] if isinstance(kubeconfig, str) else []
    words.append("kubectl")
    if kube_context:
        words += ["--context", shlex.quote(kube_context)]
    return " ".join(words)


def _viewer(service: Json, found: Json, kubectl: str) -> Json:
    """Return where a viewer is, and for one within the cluster what to run to reach it."""
    where = {"namespace": service["namespace"], "name": service["name"]}
    if not service["cluster_local"]:
        return {**where, "url": f"{service['url']}{found['url_suffix']}"}
    spaced = f"{kubectl} -n {service['namespace']}"
    pod = f"{spaced} get pods -l {VIEWER_PODS} -o name | head -n 1"
    forward = f'{spaced} port-forward "$({pod})" 8080'
    return {**where, "url": "http://localhost:8080", "forward": forward}


def _pipeline(pipeline: Json) -> Json:
    if pipeline["broker"]:
        by = f"Broker {pipeline['broker']['name']}"
    else:
        by = "SinkBinding" if pipeline["subject"] else "sink"
    path = [pipeline["workload"], by, *(["viewer"] if pipeline["viewed"] else [])]
    return {"namespace": pipeline["namespace"], "name": pipeline["name"], "path": path}


def _probe(probe: Json) -> Json:
    path = [hop["hop"] for hop in probe["hops"]]
    return {"path": path, "seconds": probe["hops"][-1]["seconds"], "source": probe.get("source")}


def _arguments(extra_vars: Json) -> str:
    """Return the options that the next command needs as much as this one did."""
    words: list[str] = []
    inventories = [_typed(entry) for entry in context.CLIARGS.get("inventory") or ()]
    if inventories != [_typed(entry) for entry in constants.DEFAULT_HOST_LIST]:
        words += [word for entry in inventories for word in ("-i", entry)]
    if isinstance(target := extra_vars.get("target"), str):
        words += ["-e", f"target={target}"]
    return "".join(f"{shlex.quote(word)} " for word in words)


def _typed(path: str) -> str:
    """Return a path as a person would type it in this folder."""
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith(os.pardir) else relative


def _playbook(name: str) -> str:
    """Return a playbook as this run named its own: by path in a checkout, else by the collection's name."""
    running = next(iter(context.CLIARGS.get("args") or ()), "")
    path = Path(running)
    if not path.exists() or not path.resolve().is_relative_to(COLLECTION):
        return f"{NAME}.{name}"
    file = COLLECTION / ("site.yml" if name == "site" else f"playbooks/{name}.yml")
    return shlex.quote(os.path.relpath(file, Path.cwd().resolve()))

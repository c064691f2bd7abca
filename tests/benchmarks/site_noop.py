"""A second run of site.yml: against the same end state kept by kubernetes.core and uri, and on ten clusters.

And the tasks of a first run that start a process, which is what a task costs most by.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from benchmarks._harness import Result
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials
from support import peers
from support.site import ROOT, Site, recap, sandbox

FLEET = 10
RUNS = 3
RELEASES = {
    "knative/serving/releases/download/knative-v1.23.0": ("serving-crds", "serving-core"),
    "knative-extensions/net-kourier/releases/download/knative-v1.23.0": ("kourier",),
    "knative/eventing/releases/download/knative-v1.22.2": (
        "eventing-crds",
        "eventing-core",
        "in-memory-channel",
        "mt-channel-broker",
    ),
}
PIPELINE = "namespace,serviceaccount,role,rolebinding,networkpolicy,ksvc,sinkbinding,deployment,pdb"


def run() -> Result:
    """Compare on one sandbox, in one run."""
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder) / "sandbox") as site:
        first = _process_starts(site, Path(folder) / "first")
        again = _process_starts(site, Path(folder) / "again")
        ours = min(_noop(site, "inventories/sandbox") for _ in range(RUNS))
        variables = _peer_variables(site, Path(folder))
        _peer(variables)  # the first takes over from our field manager
        peer = min(_peer(variables) for _ in range(RUNS))
        fleet = _fleet(site, Path(folder))
    ratio, growth = ours / peer, fleet / ours
    return {
        "name": "site_noop",
        "summary": (
            f"second run {ours:.1f} s, {ratio:.2f} x kubernetes.core and uri ({peer:.1f} s);"
            f" {FLEET} clusters {fleet:.1f} s, {growth:.1f} x one; tasks that start a process:"
            f" {first} in the first run, {again} in the second"
        ),
        "figures": {
            "second_run_seconds": ours,
            "peer_seconds": peer,
            "ratio_to_peer": ratio,
            "fleet_clusters": FLEET,
            "fleet_seconds": fleet,
            "ratio_of_fleet_to_one": growth,
            "tasks_that_start_a_process_in_the_first_run": first,
            "tasks_that_start_a_process_in_the_second_run": again,
        },
        "goals": {
            "second run at most 10 s": ours <= 10,
            "at most 0.35 x kubernetes.core and uri": ratio <= 0.35,
            "10 clusters at most 3 x one": growth <= 3,
            "at most 40 tasks that start a process": first <= 40,
        },
    }


def _noop(site: Site, inventory: str, *arguments: str) -> float:
    """Seconds of a run that changes nothing."""
    start = time.monotonic()
    command = ("ansible-playbook", "-i", inventory, "site.yml", *arguments)
    output = site.run(*command, timeout=1200).stdout
    seconds = time.monotonic() - start
    changed = {host: counts["changed"] for host, counts in recap(output).items()}
    if any(changed.values()):
        raise AssertionError(f"the second run changed something: {changed}\n{output}")
    return seconds


def _process_starts(site: Site, notes: Path) -> int:
    """Run the site; returns how many tasks have started a process (see callback_plugins)."""
    noting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "process_starts",
        "PROCESS_STARTS": str(notes),
    }
    notes.touch()
    replace(site, environment=site.environment | noting).play("site.yml", timeout=1200)
    # A worker is forked for each task and host.
    return len({line.split("\t")[0] for line in notes.read_text().splitlines()})


def _peer(variables: Path) -> float:
    playbook = Path(__file__).parent / "peer_site.yml"
    start = time.monotonic()
    result = subprocess.run(
        [peers.ansible_playbook(), "-i", "localhost,", playbook, "-e", f"@{variables}"],
        env=peers.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if result.returncode:
        raise AssertionError(f"the peer failed:\n{result.stdout}{result.stderr}")
    return time.monotonic() - start


def _peer_variables(site: Site, folder: Path) -> Path:
    manifests = folder / "manifests"
    for part in ("knative", "pipeline"):
        (manifests / part).mkdir(parents=True)
    number = 0
    for path, names in RELEASES.items():
        for name in names:
            number += 1
            with urllib.request.urlopen(
                f"{site.state['urls']['releases']}/{path}/{name}.yaml"
            ) as got:
                (manifests / "knative" / f"{number}-{name}.yaml").write_bytes(got.read())
    (manifests / "pipeline" / "all.yaml").write_text(_applied(site))
    keys = json.loads((site.home / "x-keys.json").read_text())
    names = ("api_key", "api_secret", "access_key", "access_secret")
    google = site.state["urls"]["google"]
    policy = _get(
        site, f"{google}/v1/projects/sandbox-project/secrets/twitter-api-key:getIamPolicy"
    )
    host = _kubectl(site, "-n", "streamops", "get", "ksvc", "event-viewer", "-o", "json")["status"]
    ports = _kubectl(site, "-n", "kourier-system", "get", "service", "kourier", "-o", "json")[
        "spec"
    ]
    variables = {
        "google": google,
        "token": _token(site),
        "project": "sandbox-project",
        "location": "europe-west1",
        "cluster": "sandbox",
        "kubeconfig": str(site.home / "kubeconfig"),
        "manifests": str(manifests),
        "secrets": {f"twitter-{name.replace('_', '-')}": keys[name] for name in names},
        "principal": policy["bindings"][0]["members"][0],
        "viewer": {
            "host": host["url"].removeprefix("http://"),
            "url": f"http://127.0.0.1:{ports['ports'][0]['nodePort']}",
        },
    }
    written = folder / "variables.json"
    written.write_text(json.dumps(variables))
    return written


def _applied(site: Site) -> str:
    """The pipeline's objects as a person would have them in files: what we applied, nothing else."""
    listed = _kubectl(
        site, "-n", "streamops", "get", PIPELINE, "-o", "json", "--show-managed-fields"
    )
    documents = [
        {**_owned(item, entry), "apiVersion": item["apiVersion"], "kind": item["kind"]}
        for item in listed["items"]
        for entry in item["metadata"].get("managedFields", [])
        if entry["manager"] == "streamops.knative" and entry["operation"] == "Apply"
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def _owned(item: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object that the manager of `entry` owns."""
    owned = _pick(item, entry["fieldsV1"])
    metadata = owned.setdefault("metadata", {})
    for key in ("name", "namespace"):
        if key in item["metadata"]:
            metadata[key] = item["metadata"][key]
    picked: dict[str, Any] = owned
    return picked


def _pick(value: Any, fields: dict[str, Any]) -> Any:
    if not isinstance(value, dict | list) or not [key for key in fields if key != "."]:
        return value
    if isinstance(value, dict):
        return {
            key.removeprefix("f:"): _pick(value[key.removeprefix("f:")], inner)
            for key, inner in fields.items()
            if key.startswith("f:") and key.removeprefix("f:") in value
        }
    picked = []
    for key, inner in fields.items():
        if key.startswith("k:"):
            wanted = json.loads(key.removeprefix("k:"))
            found = next(v for v in value if all(v.get(n) == w for n, w in wanted.items()))
            picked.append(_pick(found, inner))
        elif key.startswith("v:"):
            picked.append(json.loads(key.removeprefix("v:")))
    return picked


def _fleet(site: Site, folder: Path) -> float:
    """A second run on ten clusters, made by a first one."""
    inventory = folder / "fleet"
    (inventory / "group_vars").mkdir(parents=True)
    shared = (ROOT / "inventories" / "sandbox" / "group_vars" / "knative_clusters.yml").read_text()
    variables = yaml.safe_load(shared) | {
        "gcp_cluster_name": "{{ inventory_hostname }}",
        "kubeconfig": "{{ sandbox_home }}/{{ inventory_hostname }}.kubeconfig",
    }
    (inventory / "group_vars" / "knative_clusters.yml").write_text(yaml.safe_dump(variables))
    hosts = {f"fleet-{number}": None for number in range(FLEET)}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"knative_clusters": {"hosts": hosts}}))
    forks = ("--forks", str(FLEET))
    site.run("ansible-playbook", "-i", str(inventory), "site.yml", *forks, timeout=1200)
    return min(_noop(site, str(inventory), *forks) for _ in range(RUNS))


def _kubectl(site: Site, *arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(site.run("kubectl", *arguments).stdout)
    return parsed


def _token(site: Site) -> str:
    credentials = Credentials.from_service_account_file(
        str(site.home / "service-account.json"),
        scopes=["https://www.googleapis.com/auth/cloud-platform"],
    )
    credentials.refresh(Request())
    return str(credentials.token)


def _get(site: Site, url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {_token(site)}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        parsed: dict[str, Any] = json.load(response)
    return parsed

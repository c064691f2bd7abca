"""What check mode says is what the run then does, and what is left half done the next run finishes.

One table of runs, with every option that changes something, for every module that can.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from support.google import MODULES, Google, google_sandbox
from support.google_cases import (
    CASES,
    LOCATION,
    Case,
    Options,
    done,
    everything,
    lasting,
    repository,
)

from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from streamops_sandbox.google.app import ACCOUNT


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    with google_sandbox(tmp_path / "google") as running:
        yield running


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_check_mode_says_what_the_run_then_does(google: Google, case: Case) -> None:
    for module, options in case.before:
        done(google, module, options)
    before = everything(google)
    predicted = google.run_quickly(
        case.module, **case.options, _ansible_check_mode=True, _ansible_diff=True
    )
    assert everything(google) == before, "check mode changed something"
    assert predicted["changed"] is True, predicted
    result = done(google, case.module, case.options)
    assert (result["changes"], result["diff"]) == (predicted["changes"], predicted["diff"])
    after = everything(google)
    assert after != before
    for again in (True, False):
        same = google.run_quickly(case.module, **case.options, _ansible_check_mode=again)
        assert (same["changed"], same["changes"]) == (False, []), same
    assert everything(google) == after, "a run that said it changed nothing did"


def writes(google: Google) -> list[str]:
    """The methods that a run called to change something, each once, in order."""
    reads = ("get", "list", "access", "batchGet", "getIamPolicy", "getServerConfig")
    called = [m for m in google.calls() if m.rpartition(".")[2] not in reads]
    return list(dict.fromkeys(called))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_left_half_done_is_finished_by_the_next_run(
    google: Google, case: Case, tmp_path: Path
) -> None:
    """Each write fails in turn before it is carried out, and once more with the answer lost."""
    for module, options in case.before:
        done(google, module, options)
    google.calls()
    done(google, case.module, case.options)
    methods, wanted = writes(google), lasting(everything(google))
    assert methods
    with google_sandbox(tmp_path / "other") as other:
        for module, options in case.before:
            done(other, module, options)
        for fault in ({"method": m, "carried_out": c} for m in methods for c in (False, True)):
            other.control(
                "POST", "faults", {**fault, "status": "INTERNAL", "message": "Broken off."}
            )
            broken = other.run_quickly(case.module, **case.options, request_retries=0)
            if broken.get("failed"):
                # What the run before has begun may go on, unseen yet.
                assert re.search(r"Broken off\.|ALREADY_EXISTS", broken["msg"]), broken
                assert broken["changed"] is bool(broken["changes"])
            other.control("DELETE", "faults")
        done(other, case.module, case.options)
        assert lasting(everything(other)) == wanted
        assert other.run_quickly(case.module, **case.options)["changed"] is False


def work(google: Google, module: str, options: Options) -> dict[str, Any]:
    """Run a module's task on a thread, as a worker of Ansible does in its process."""
    task: Task = importlib.import_module(f"{MODULES}.{module}").TASK
    validator = ArgumentSpecValidator(task.options, **task.constraints)
    validated = validator.validate({**google.options(), **options})
    assert not validated.error_messages
    params = validated.validated_parameters
    return task.work(Run(params))


def test_several_hosts_do_the_same_at_once(google: Google) -> None:
    """A fleet's hosts share a project: whoever comes second finds it done, or adds to it."""
    hosts = [f"user:host{number}@example.com" for number in range(6)]
    failures: list[BaseException] = []

    def run(member: str) -> None:
        number = hosts.index(member)
        for module, options in (
            ("gcp_services", {"services": ["pubsub.googleapis.com"]}),
            ("artifact_repository", repository(readers=[member], labels={"a": "b"})),
            ("gcp_service_account", {"name": "pipeline", "display_name": "Pipeline"}),
            ("gcp_secret", {"name": "s", "labels": {f"h{number}": "x"}, "accessors": [member]}),
            ("gcp_iam_member", {"secret": "s", "role": "roles/viewer", "member": member}),
        ):
            try:
                work(google, module, {**options, "request_retries": 12})
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=run, args=(member,)) for member in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = everything(google)
    ((secret, _versions, policy),) = found["secrets"]
    assert sorted(secret["labels"]) == [f"h{number}" for number in range(6)]
    assert sorted(b["members"] for b in policy["bindings"]) == [hosts, hosts]
    ((_repository, images),) = found["repositories"]
    assert images["bindings"][0]["members"] == hosts
    assert len(found["accounts"]) == 2, f"the pipeline's, beside {ACCOUNT}"


def test_lists_of_several_pages(google: Google) -> None:
    google.control("PUT", "pages", {"size": 2})
    names = [f"s{number}" for number in range(5)]
    secrets = [{"name": name, "value": "x"} for name in names]
    assert google.run_quickly("gcp_secret", secrets=secrets)["changed"] is True
    assert google.run_quickly("gcp_secret", secrets=secrets)["changed"] is False
    for value in ("y", "z", "last"):
        done(google, "gcp_secret", {"name": "s0", "value": value})
    options = {"name": "s0", "old_versions": "disable", "aliases": {"first": "1"}}
    assert done(google, "gcp_secret", options)["secrets"][0]["retired"] == [3, 2]
    found = google.run_quickly("gcp_secret_info")["secrets"]
    assert sorted(secret["id"] for secret in found) == names
    assert len(next(s for s in found if s["id"] == "s0")["versions"]) == 4
    for number in range(3):
        done(google, "artifact_repository", {**repository(), "name": f"r{number}"})
    listed = google.run_quickly("artifact_repository_info", location=LOCATION)["repositories"]
    assert len(listed) == 3
    for number in range(3):
        done(google, "gcp_service_account", {"name": f"account-{number}"})
    assert len(google.run_quickly("gcp_service_account_info")["service_accounts"]) == 4
    enabled = google.run_quickly("gcp_services_info")["services"]
    assert len(enabled) >= 5, "pages of services, too"

"""Build and push after a one-line change: oci_image against buildah with a warm layer cache.

Two figures of the module stand beside `buildah build` and `buildah push`, for the same changed line and
the same registry: the task, as Ansible's junit callback times it (from the task's start to its result),
and the whole `ansible-playbook` of that one task. The goal is about the task, which is what an image adds
to a playbook. Ansible's start, with the import of what its plugins need, is paid once per playbook,
whatever is in it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks._harness import Result
from support.registries import sandbox_registry
from support.workshop import MODULES, ROOT, Workshop

ROUNDS = 5
_SIZE_GOAL = 60 * 2**20


def run() -> Result:
    """Change a line in each app, several times, and build it both ways for the same registry."""
    figures: dict[str, float | int | str | None] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox_registry(Path(folder) / "home") as registry,
    ):
        workshop = Workshop(Path(folder), registry)
        try:
            for app in MODULES:
                figures |= {f"{app}_{key}": value for key, value in _measure(workshop, app).items()}
        finally:
            workshop.buildah.clean()

    def worst(key: str) -> float:
        return max(float(figures[f"{app}_{key}"] or 0) for app in MODULES)

    size = sum(int(figures[f"{app}_size_bytes"] or 0) for app in MODULES)
    figures["both_apps_size_bytes"] = size
    compared = "; ".join(_sentence(app, figures) for app in MODULES)
    return {
        "name": "image_rebuild",
        "summary": f"one line changed: {compared}; nothing to do"
        f" {worst('task_nothing_to_do_seconds'):.2f} s; both apps {size / 2**20:.1f} MiB",
        "figures": figures,
        "goals": {
            "task at most 0.25 x buildah build + push": worst("task_ratio_to_buildah") <= 0.25,
            "task with nothing to do under 1 s": worst("task_nothing_to_do_seconds") < 1,
            "both apps under 60 MiB without the base": size < _SIZE_GOAL,
        },
    }


def _sentence(app: str, figures: dict[str, float | int | str | None]) -> str:
    def of(key: str) -> str:
        seconds, ratio = figures[f"{app}_{key}_seconds"], figures[f"{app}_{key}_ratio_to_buildah"]
        return f"{seconds:.2f} s = {ratio:.2f} x buildah"

    return (
        f"{app} {of('task')}'s {figures[f'{app}_buildah_seconds']:.2f} s"
        f" (with the start of ansible-playbook {of('playbook')}'s)"
    )


def _measure(workshop: Workshop, app: str) -> dict[str, float]:
    """Medians over rounds of a changed line, each built both ways, so that load hits both."""
    first = _play(workshop, app)
    workshop.by_containerfile(app)
    taken: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        with (workshop.apps / app / MODULES[app] / "__main__.py").open("a") as source:
            source.write(f"# change {number}\n")
        begun = time.monotonic()
        workshop.by_containerfile(app)
        seconds = {"buildah": time.monotonic() - begun, **_play(workshop, app)}
        for key, value in seconds.items():
            taken.setdefault(key, []).append(value)
    median = {key: statistics.median(values) for key, values in taken.items()}
    result = {f"{key}_seconds": value for key, value in median.items() if key != "size"}
    for key in ("task", "playbook"):
        result[f"{key}_ratio_to_buildah"] = median[key] / median["buildah"]
    return {**result, "task_first_build_seconds": first["task"], "size_bytes": first["size"]}


def _play(workshop: Workshop, app: str) -> dict[str, float]:
    """Seconds of a playbook of one task, of its task, and of the task with nothing to do; bytes added."""
    playbook_seconds, task_seconds, result = _run_playbook(workshop, app)
    _, again_seconds, again = _run_playbook(workshop, app)
    assert (result["changed"], again["changed"]) == (True, False)
    return {
        "playbook": playbook_seconds,
        "task": task_seconds,
        "task_nothing_to_do": again_seconds,
        "size": result["size"],
    }


def _run_playbook(workshop: Workshop, app: str) -> tuple[float, float, dict[str, Any]]:
    """Run `ansible-playbook` with the task: seconds of all, seconds of the task, what it returned."""
    task = {"name": app, "streamops.knative.oci_image": workshop.task(app)}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    with tempfile.TemporaryDirectory(dir=workshop.folder) as folder:
        playbook = Path(folder, "play.yml")
        playbook.write_text(json.dumps([play]))
        timing = {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit", "JUNIT_OUTPUT_DIR": folder}
        begun = time.monotonic()
        subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", playbook],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env=os.environ | timing,
            capture_output=True,
            timeout=300,
            check=True,
        )
        taken = time.monotonic() - begun
        (report,) = Path(folder).glob("play-*.xml")
        (case,) = ElementTree.parse(report).getroot().iter("testcase")
    return taken, float(case.attrib["time"]), json.loads(case.findtext("system-out") or "")

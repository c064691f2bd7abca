"""Build and push after a one-line change: oci_image against buildah with a warm layer cache.

The ratio compares the work itself: the module's code against the commands of buildah. A task adds
the start of Ansible's module and its imports, whatever it does; its figures stand beside.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks._harness import Result
from support.registries import sandbox_registry
from support.workshop import MODULES, ROOT, Workshop

ROUNDS = 5
_SIZE_GOAL = 60 * 2**20


def run() -> Result:
    """Change a line in each app, several times, and build it both ways for the same registry."""
    figures: dict[str, float | int | str | None] = {}
    ratios, sizes, unchanged = [], 0, []
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox_registry(Path(folder) / "home") as registry,
    ):
        workshop = Workshop(Path(folder), registry)
        try:
            for app in MODULES:
                tasks = _tasks(workshop, app)
                module = _rebuilds(workshop, app, workshop.by_module)
                buildah = _rebuilds(workshop, app, workshop.by_containerfile)
                ratios.append(module / buildah)
                unchanged.append(tasks["unchanged"])
                sizes += int(tasks["size"])
                figures |= {
                    f"{app}_build_and_push_seconds": module,
                    f"{app}_buildah_seconds": buildah,
                    f"{app}_ratio_to_buildah": module / buildah,
                    f"{app}_task_seconds": tasks["changed"],
                    f"{app}_task_ratio_to_buildah": tasks["changed"] / buildah,
                    f"{app}_task_first_build_seconds": tasks["first"],
                    f"{app}_task_nothing_to_do_seconds": tasks["unchanged"],
                    f"{app}_size_bytes": int(tasks["size"]),
                }
        finally:
            workshop.buildah.clean()
    figures["both_apps_size_bytes"] = sizes
    compared = ", ".join(
        f"{app} {figures[f'{app}_build_and_push_seconds']:.2f} s, {ratio:.2f} x buildah's"
        f" {figures[f'{app}_buildah_seconds']:.2f} s (as a task, with the start of Ansible's module,"
        f" {figures[f'{app}_task_seconds']:.2f} s)"
        for app, ratio in zip(MODULES, ratios, strict=True)
    )
    return {
        "name": "image_rebuild",
        "summary": f"one line changed: {compared}; nothing to do {max(unchanged):.2f} s;"
        f" both apps {sizes / 2**20:.1f} MiB",
        "figures": figures,
        "goals": {
            "build and push at most 0.25 x buildah": max(ratios) <= 0.25,
            "task with nothing to do under 1 s": max(unchanged) < 1,
            "both apps under 60 MiB without the base": sizes < _SIZE_GOAL,
        },
    }


def _tasks(workshop: Workshop, app: str) -> dict[str, float]:
    """Median seconds of the module's tasks, as Ansible runs them, timed between tasks."""
    build = {"streamops.knative.oci_image": workshop.task(app), "register": "built"}
    source = str(_source(workshop, app))
    tasks: list[dict[str, object]] = []
    for number in range(ROUNDS + 1):
        line = {"path": source, "line": f"# change {number}"}
        tasks += [{"ansible.builtin.lineinfile": line}] if number else []
        tasks += [
            _clock("begun"),
            build,
            _clock("ended"),
            _report("changed" if number else "first"),
        ]
    for _ in range(ROUNDS):
        tasks += [_clock("begun"), build, _clock("ended"), _report("unchanged")]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    playbook = workshop.folder / "rebuild.yml"
    playbook.write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", playbook],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    seconds: dict[str, list[float]] = {}
    size = 0.0
    for line in done.stdout.splitlines():
        if "MEASURED" in line:
            kind, changed, took, size_text = line.split("MEASURED ")[1].strip('" ,').split()
            assert changed == str(kind != "unchanged"), line
            seconds.setdefault(kind, []).append(float(took))
            size = float(size_text)
    return {kind: statistics.median(values) for kind, values in seconds.items()} | {"size": size}


def _clock(name: str) -> dict[str, object]:
    return {"ansible.builtin.set_fact": {name: "{{ now(utc=true).timestamp() }}"}}


def _report(kind: str) -> dict[str, object]:
    took = "{{ ended | float - begun | float }}"
    message = f"MEASURED {kind} {{{{ built.changed }}}} {took} {{{{ built.size }}}}"
    return {"ansible.builtin.debug": {"msg": message}}


def _rebuilds(workshop: Workshop, app: str, build: Callable[[str], str]) -> float:
    """Median seconds of build and push after a changed line, the first build not counted."""
    seen = {build(app)}
    taken = []
    for number in range(ROUNDS):
        with _source(workshop, app).open("a") as file:
            file.write(f"# {build.__name__} {number}\n")
        begun = time.monotonic()
        image = build(app)
        taken.append(time.monotonic() - begun)
        assert "@" not in image or image not in seen, "the image did not change"
        seen.add(image)
    return statistics.median(taken)


def _source(workshop: Workshop, app: str) -> Path:
    return workshop.apps / app / MODULES[app] / "__main__.py"

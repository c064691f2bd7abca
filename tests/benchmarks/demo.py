"""The main job: how long site.yml takes on a new sandbox and again, and what the sandbox costs idle."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks._harness import Result, resident_mib
from support.site import Site, recap, sandbox

IDLE_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")


def run() -> Result:
    """Measure one life of a sandbox."""
    with tempfile.TemporaryDirectory() as home:
        # A cluster without pods: those that stand in for Knative's run in the cluster's own process.
        with sandbox(Path(home) / "idle", "--cluster", "idle") as idle:
            time.sleep(5)  # what the start has begun comes to rest
            resident, processor = _idle(_own_processes(idle))
        with sandbox(Path(home) / "sandbox") as site:
            first, _ = _timed(site)
            second, counts = _timed(site)
    changed = sum(host["changed"] for host in counts.values())
    return {
        "name": "demo",
        "summary": (
            f"site.yml {first:.1f} s, again {second:.1f} s (changed={changed}); sandbox without pods, idle"
            f" {resident:.0f} MiB, {processor:.1f} % of a core"
        ),
        "figures": {
            "first_run_seconds": first,
            "second_run_seconds": second,
            "second_run_changed": changed,
            "idle_resident_mib": resident,
            "idle_processor_percent": processor,
        },
        "goals": {
            "site.yml within 60 s": first <= 60,
            "second run within 20 s, changed=0": second <= 20 and changed == 0,
            "sandbox idle under 150 MiB": resident < 150,
            "sandbox idle under 5 % of a core": processor < 5,
        },
    }


def _timed(site: Site) -> tuple[float, dict[str, dict[str, int]]]:
    start = time.monotonic()
    output = site.play("site.yml").stdout
    return time.monotonic() - start, recap(output)


def _own_processes(site: Site) -> list[int]:
    """The supervisor and the clusters, without the pods' processes."""
    return list(site.state["pids"].values())


def _idle(pids: list[int]) -> tuple[float, float]:
    """MiB resident, and percent of a core over IDLE_SECONDS."""
    before = sum(map(_ticks, pids))
    time.sleep(IDLE_SECONDS)
    used = (sum(map(_ticks, pids)) - before) / TICKS
    return sum(map(resident_mib, pids)), 100 * used / IDLE_SECONDS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

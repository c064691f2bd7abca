"""Runs benchmarks by name: prints each one's line of figures and writes build/bench/NAME.json."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Protocol, TypedDict

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "demo",
    "apply_noop",
    "apply_first",
    "apply_small",
    "knative_install",
    "kube_load",
    "gcp_noop",
    "site_noop",
    "producer",
    "sources",
    "viewer",
    "eda",
    "image_rebuild",
    "bundle",
)


class Result(TypedDict):
    """What a benchmark returns.

    `figures` holds every number with its unit in the key (`site_seconds`, `ratio_to_kubectl`);
    `goals` says for each goal, by its words, whether this run met it.
    """

    name: str
    summary: str
    figures: dict[str, float | int | str | None]
    goals: dict[str, bool]


class Benchmark(Protocol):
    """A module of this package that can be run."""

    def run(self) -> Result: ...


def resident_mib(pid: int) -> float:
    """Memory a process holds, in MiB; what it shares with others counts too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, with its system calls."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(
    command: list[str], environment: dict[str, str] | None = None, timeout: float = 400
) -> tuple[float, str]:
    """Seconds a command takes, and what it printed; RuntimeError with all it said if it fails."""
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    seconds = time.monotonic() - start
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def main(arguments: list[str]) -> int:
    """Run the benchmarks named (all, without names); 1 if one of them broke."""
    unknown = sorted(set(arguments) - set(NAMES))
    if unknown:
        print(f"No benchmark called {', '.join(unknown)}. There are: {', '.join(NAMES)}")
        return 2
    broken = 0
    for name in arguments or NAMES:
        try:
            result: Result = importlib.import_module(f"benchmarks.{name}").run()
        except Exception:  # one broken benchmark must not hide the figures of the others
            traceback.print_exc()
            broken = 1
            continue
        folder = ROOT / "build" / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"{name}: {result['summary']}", flush=True)
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

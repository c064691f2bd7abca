"""CloudEvents into rules, beside the webhook source that ansible-rulebook brings (eda.builtin.webhook).

Both run in ansible-rulebook with one rule whose condition never holds, on one core each run, and get the
same posts from wrk in turns; ansible.eda.webhook is the same code, and is only on Galaxy. Ours gets them
one a request, as a Broker sends them, and 50 a request. How long the source itself works on an event is
measured without the rule engine, whose work is the same for both: `main` of each plugin with a queue that
drops everything, by the CPU time of its process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from benchmarks._harness import ROOT, Result
from support.ports import free_port

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 16
BATCH = 50
GOAL_RATE = 500
TEXT = "Knative turns a cluster into something you can just send events to. " * 4
OURS, STOCK = "streamops.knative.cloudevents", "eda.builtin.webhook"

SINGLE = """
local number = os.time() % 1000000 * 1000000 + 1e12
local tail = '", "lang": "en", "text": "{text}"}}'
local head = "POST / HTTP/1.1\\r\\nHost: rules\\r\\nContent-Type: application/json\\r\\n" ..
  "ce-specversion: 1.0\\r\\nce-source: https://x.com\\r\\nce-type: com.x.post\\r\\n" ..
  "ce-time: 2026-01-31T12:00:00Z\\r\\nContent-Length: " .. #'{{"id": "' + 13 + #tail .. "\\r\\nce-id: "
function request()
  number = number + 1
  local id = string.format("%.0f", number)
  return head .. id .. '\\r\\n\\r\\n{{"id": "' .. id .. tail
end
"""
BATCHES = """
local number = os.time() % 1000000 * 1000000 + 2e12
function request()
  local events = {{}}
  for i = 1, {batch} do
    number = number + 1
    local id = string.format("%.0f", number)
    events[i] = '{{"specversion":"1.0","id":"' .. id .. '","source":"https://x.com","type":"com.x.post",' ..
      '"time":"2026-01-31T12:00:00Z","datacontenttype":"application/json",' ..
      '"data":{{"id":"' .. id .. '","lang":"en","text":"{text}"}}}}'
  end
  return wrk.format("POST", "/", {{["Content-Type"] = "application/cloudevents-batch+json"}},
    "[" .. table.concat(events, ",") .. "]")
end
"""
#: Runs a plugin's `main` with a queue that drops everything.
ALONE = """
import asyncio, runpy, sys
class Queue:
    async def put(self, event): pass
asyncio.run(runpy.run_path(sys.argv[1])["main"](Queue(), {"host": "127.0.0.1", "port": int(sys.argv[2])}))
"""


def _path(source: str) -> Path:
    if source == OURS:
        eda = ROOT / ".collections/ansible_collections/streamops/knative/extensions/eda"
        return eda / "plugins/event_source/cloudevents.py"
    import ansible_rulebook  # noqa: PLC0415 - is not imported where Java is missing

    return Path(ansible_rulebook.__file__).parent / "event_source" / "webhook.py"


@contextlib.contextmanager
def _process(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process on the first core, once it listens."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["taskset", "-c", "0", *command], env=environment, stdout=output, stderr=output
        )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if running.poll() is not None:
                raise RuntimeError(f"{command[0]} ended: {log.read_text()}")
            time.sleep(0.1)
        yield running
    finally:
        running.kill()
        running.wait()


def _rulebook(source: str, port: int, folder: Path) -> list[str]:
    rule = {"name": "none", "condition": "event.absent is defined", "action": {"none": None}}
    options = {"host": "127.0.0.1", "port": port}
    sources = [{"name": "source", source: options}]
    path = folder / f"{port}.yml"
    path.write_text(
        yaml.safe_dump([{"name": "b", "hosts": "all", "sources": sources, "rules": [rule]}])
    )
    return ["ansible-rulebook", "--rulebook", str(path)]


def _wrk(port: int, script: str, folder: Path) -> float:
    """Load for SECONDS; requests a second."""
    path = folder / "load.lua"
    path.write_text(script.format(text=TEXT, batch=BATCH))
    done = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", str(path),
         f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, timeout=SECONDS + 60, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout:
        raise RuntimeError(f"not every request was answered 2xx:\n{done.stdout}")
    found = re.search(r"Requests/sec: +([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    return float(found[1])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _alone(source: str, folder: Path) -> float:
    """Microseconds of CPU that a source needs for an event."""
    port = free_port()
    command = [sys.executable, "-c", ALONE, str(_path(source)), str(port)]
    with _process(command, port, folder) as running:
        rates = []
        for _ in range(ROUNDS):
            before = _cpu(running.pid)
            rate = _wrk(port, SINGLE, folder)
            rates.append((_cpu(running.pid) - before) / (rate * SECONDS) * 1e6)
        return min(rates)


def run() -> Result:
    """Measure both, in turns."""
    needed = [tool for tool in ("java", "wrk", "taskset") if not shutil.which(tool)]
    if needed:
        raise RuntimeError(f"needs {', '.join(needed)}")
    rates: dict[str, list[float]] = {"ours": [], "batches": [], "stock": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, stock = free_port(), free_port()
        with (
            _process(_rulebook(OURS, ours, folder), ours, folder),
            _process(_rulebook(STOCK, stock, folder), stock, folder),
        ):
            turns: list[tuple[str, int, str, int]] = [
                ("stock", stock, SINGLE, 1),
                ("ours", ours, SINGLE, 1),
                ("batches", ours, BATCHES, BATCH),
            ]
            for number in range(ROUNDS + 1):
                for key, port, script, events in turns:
                    rate = _wrk(port, script, folder) * events
                    if number:  # the first round is Java's to warm up
                        rates[key].append(rate)
        alone = {source: _alone(source, folder) for source in (OURS, STOCK)}
    best = {key: statistics.median(values) for key, values in rates.items()}
    single, batches = best["ours"] / best["stock"], best["batches"] / best["stock"]
    share = alone[STOCK] / alone[OURS]
    figures: dict[str, Any] = {
        "events_per_second": round(best["ours"]),
        "events_per_second_in_batches": round(best["batches"]),
        "webhook_events_per_second": round(best["stock"]),
        "ratio_to_webhook": round(single, 2),
        "ratio_to_webhook_in_batches": round(batches, 2),
        "source_cpu_microseconds_per_event": round(alone[OURS]),
        "webhook_cpu_microseconds_per_event": round(alone[STOCK]),
        "ratio_of_cpu": round(share, 2),
    }
    return {
        "name": "eda",
        "summary": (
            f"{best['ours']:.0f} events/s into a rule on one core, {best['batches']:.0f} in batches;"
            f" {STOCK} {best['stock']:.0f} ({single:.2f} x, {batches:.2f} x);"
            f" the source alone {alone[OURS]:.0f} µs of CPU an event, {alone[STOCK]:.0f} ({share:.2f} x)"
        ),
        "figures": figures,
        "goals": {
            f"{GOAL_RATE} events a second": best["ours"] >= GOAL_RATE,
            "2 x eda.builtin.webhook": single >= 2,
            "never slower than eda.builtin.webhook": single >= 1,
            "2 x eda.builtin.webhook in batches": batches >= 2,
        },
    }

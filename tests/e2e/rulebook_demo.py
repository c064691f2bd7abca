"""The end of `make demo RULEBOOK=1`: a post comes through the pipeline, a rule fires, a playbook runs.

Then ansible-rulebook is killed, and the post that came meanwhile starts its playbook after the restart.
With --check it only says whether what it needs is here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamops_sandbox import control_socket
from streamops_sandbox.home import Home

ROOT = Path(__file__).resolve().parents[2]
PORT = 5000
PATIENCE = 120.0  # seconds, for a busy machine


def missing() -> str:
    """Return what has to be installed, and how; empty when all is here."""
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        return (
            "RULEBOOK=1 needs Java 17 or newer, which ansible-rulebook's rule engine runs on. On Debian:"
            " apt-get install openjdk-17-jre-headless; elsewhere set JAVA_HOME."
        )
    if not shutil.which("ansible-rulebook"):
        return "RULEBOOK=1 needs ansible-rulebook: pip install -c constraints.txt ansible-rulebook"
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            return f"RULEBOOK=1 needs port {PORT}, which something listens on: stop that first."
    return ""


class Rulebook:
    """ansible-rulebook with the collection's rulebook `posts`, in a folder of the sandbox's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tickets = folder / "tickets"
        self.tickets.mkdir(parents=True, exist_ok=True)
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tickets": str(self.tickets),
        }
        (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))
        variables = {
            "port": PORT,
            "pattern": "please restart",
            "playbook": "streamops.knative.ticket",
            "drools_db_file_path": f"{folder}/events;WRITE_DELAY=0",
        }
        (folder / "variables.yml").write_text(json.dumps(variables))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return once it listens."""
        command = ["ansible-rulebook", "--rulebook", "streamops.knative.posts", "--id", "1"]
        command += ["--persistence-id", "posts", "--inventory", str(self.folder / "inventory.yml")]
        command += ["--vars", str(self.folder / "variables.yml")]
        # Playbooks run in a folder of their own, where the checkout's ansible.cfg is not found.
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
        with (self.folder / "rulebook.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        process = self.process

        def listens() -> bool:
            if process.poll() is not None:
                raise SystemExit(f"ansible-rulebook ended:\n{self.log()}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", PORT)) == 0

        until(listens, f"ansible-rulebook listens on port {PORT}")

    def log(self) -> str:
        """Return the end of what it printed."""
        return (self.folder / "rulebook.log").read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ticket(self, post: str) -> dict[str, Any]:
        """Wait for the ticket about a post; return what the playbook wrote into it."""

        def look() -> Any:
            for path in self.tickets.glob("*.json"):
                ticket = json.loads(path.read_text() or "{}")
                if ticket.get("event", {}).get("id") == post:
                    return {**ticket, "path": path}
            return None

        found: dict[str, Any] = until(look, f"a playbook writes a ticket for post {post}", self.log)
        return found


def until(condition: Callable[[], Any], what: str, log: Callable[[], str] = str) -> Any:
    """Return the first true result; end the program, with the log, when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE:g} s in vain: {what}\n{log()}")
        time.sleep(0.1)
    return found


def publish(home: Home, text: str) -> str:
    """Write a post on the sandbox's X; return its id."""
    status, answer = control_socket.call(home, "POST", "/x/posts?matching=all", [{"text": text}])
    if status != 200:
        raise SystemExit(f"the sandbox's X does not take the post: {answer}")
    return str(answer[0])


def show(ticket: dict[str, Any], seconds: float) -> None:
    """Print the event, the rule, and what the action did."""
    event = ticket["event"]
    print(f"  event   {event['type']} {event['id']}: {event['data']['text']}")
    print(f"  rule    {ticket['ruleset']} / {ticket['rule']}")
    print(f"  action  streamops.knative.ticket wrote {ticket['path']}")
    print(f"  {seconds:.1f} s from the post to the end of the action", flush=True)


def main(arguments: list[str]) -> int:
    """Run it; 1 where something is missing."""
    if problem := missing():
        print(problem, file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        return 0
    home = Home(Path(os.environ["SANDBOX_HOME"]))
    rulebook = Rulebook(home.path / "rulebook")
    try:
        print("Starting ansible-rulebook with streamops.knative.posts ...", flush=True)
        rulebook.start()
        started = time.monotonic()
        show(
            rulebook.ticket(publish(home, "Please restart the gateway")), time.monotonic() - started
        )
        print("Killing it, while another post comes ...", flush=True)
        rulebook.kill()
        started = time.monotonic()
        post = publish(home, "Please restart the registry")
        rulebook.start()
        show(rulebook.ticket(post), time.monotonic() - started)
    finally:
        rulebook.kill()
    print(
        "The rulebook has ended; the sandbox goes on. How to run your own: docs/how-to/event-driven.md"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

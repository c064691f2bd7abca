"""One container of a pod from its creation to its end, restarts included."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamops_sandbox.node.env import ConfigError
from streamops_sandbox.node.image_source import Policy, Runnable
from streamops_sandbox.node.images import ImageError
from streamops_sandbox.node.images.unpack import LayerError, resolve
from streamops_sandbox.node.logs import ContainerLog
from streamops_sandbox.node.probes import follow
from streamops_sandbox.node.runtime import Running, StartError
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import now

if TYPE_CHECKING:
    from streamops_sandbox.node.pod import Pod

logger = logging.getLogger(__name__)

_MESSAGE_BYTES = 4096
_FALLBACK_BYTES = 2048
_CONFIG_RETRY_SECONDS = 10.0
#: The first restart comes at once, the next after the first back-off, then twice as long each time
#: up to the longest; a run of the last one begins anew. As the kubelet has them.
_FIRST_BACKOFF, _LONGEST_BACKOFF, _BACKOFF_RESET = 10.0, 300.0, 600.0


class Container:
    """Runs one container as its spec and the pod's restart policy say, and knows its status."""

    def __init__(self, pod: Pod, spec: Object, folder: Path) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self.restarts = 0
        self.ready = False
        self.started = False
        self.image_id = ""
        self.container_id = ""
        self.log: ContainerLog | None = None
        self._pod = pod
        self._folder = folder
        self._running: Running | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopping = False
        self._stop_message = ""
        self._delay = 0.0

    # -- what others see ---------------------------------------------------------------------

    @property
    def exit_code(self) -> int | None:
        """The exit code where the container has ended."""
        terminated = self.state.get("terminated")
        return None if terminated is None else int(terminated["exitCode"])

    def status(self) -> Object:
        """Return the ContainerStatus."""
        status: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.spec["image"],
            "imageID": self.image_id,
            "started": self.started,
        }
        if self.container_id:
            status["containerID"] = self.container_id
        return status

    def log_path(self, *, previous: bool = False) -> Path:
        """Return where the log of the current or the previous run is."""
        return self._folder / f"{self.restarts - previous}.log"

    # -- life --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until the container has ended for good, or is stopped."""
        self._life = asyncio.create_task(self._live())
        await asyncio.wait({self._life})
        if not self._life.cancelled():
            self._life.result()

    async def stop(self, grace: float) -> None:
        """End the container: SIGTERM, and SIGKILL when the time is over."""
        self._stopping = True
        if self._running is not None:
            self._pod.event("Normal", "Killing", f"Stopping container {self.name}", self.spec)
            await self._end(self._running, grace)
        elif self._life is not None:
            self._life.cancel()
        if self._life is not None:
            await asyncio.wait({self._life})

    def kill(self) -> None:
        """End the container at once."""
        self._stopping = True
        if self._running is not None:
            self._running.kill()
        elif self._life is not None:
            self._life.cancel()

    async def _live(self) -> None:
        while not self._stopping:
            begun = time.monotonic()
            await self._run_once()
            if self._stopping or not self._restart_wanted():
                return
            await self._back_off(time.monotonic() - begun)
            self.log_path(previous=True).unlink(missing_ok=True)  # the last two runs' logs are kept
            self.restarts += 1

    async def _run_once(self) -> None:
        running = await self._start(await self._image())
        if running is None:
            return
        self._running = running
        self.state = {"running": {"startedAt": now()}}
        self._pod.event("Normal", "Started", f"Started container {self.name}", self.spec)
        self._pod.changed()
        attending = asyncio.create_task(self._attend(running))
        try:
            code = await running.wait()
        finally:
            attending.cancel()
            self._running = None
        self._ended(code, "Completed" if code == 0 else "Error")

    async def _image(self) -> Runnable:
        """Return the image; tries again, less and less often, where it cannot be had."""
        reference = self.spec["image"]
        policy: Policy = self.spec.get("imagePullPolicy") or "IfNotPresent"
        delay = _FIRST_BACKOFF
        while True:
            try:
                secrets = self._pod.pull_secrets()
                runnable = await self._pod.node.images.get(reference, policy, secrets)
            except ImageError as error:
                text = f'Failed to pull image "{reference}": {error.message}'
                self._pod.event("Warning", "Failed", text, self.spec)
                self._pod.event("Warning", "Failed", f"Error: {error.reason}", self.spec)
                self._wait(error.reason, error.message)
                await asyncio.sleep(1)
                if error.reason != "ErrImageNeverPull":
                    text = f'Back-off pulling image "{reference}"'
                    self._wait("ImagePullBackOff", f"{text}: {error.reason}: {error.message}")
                    self._pod.event("Normal", "BackOff", text, self.spec)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_BACKOFF)
                continue
            if runnable.seconds is None:
                message = f'Container image "{reference}" already present on machine'
            else:
                self._pod.event("Normal", "Pulling", f'Pulling image "{reference}"', self.spec)
                message = f'Successfully pulled image "{reference}" in {runnable.seconds:.3f}s'
            self._pod.event("Normal", "Pulled", message, self.spec)
            self.image_id = runnable.image_id
            return runnable

    async def _start(self, runnable: Runnable) -> Running | None:
        """Start the program; None where that failed in a way that counts as its end."""
        root = self._folder / "rootfs"
        while True:
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
            root.mkdir(parents=True, exist_ok=True)
            self.log = ContainerLog(self._folder / f"{self.restarts}.log")
            self.container_id = f"sandbox://{uuid.uuid4().hex}"
            try:
                launch = self._pod.node.launcher.launch
                running = await launch(self._pod, self.spec, runnable, root, self.log)
            except ConfigError as error:
                self.log.close()
                self._pod.event("Warning", "Failed", f"Error: {error}", self.spec)
                self._wait("CreateContainerConfigError", str(error))
                await self._pod.node.configuration_changed(
                    self._pod.namespace, _CONFIG_RETRY_SECONDS
                )
            except (ImageError, StartError) as error:
                text = error.message if isinstance(error, ImageError) else str(error)
                message = f"failed to create containerd task: {text}: unknown"
                self._pod.event("Warning", "Failed", f"Error: {message}", self.spec)
                self.state = {"running": {"startedAt": now()}}
                self._ended(128, "StartError", message)
                return None
            else:
                self._pod.event("Normal", "Created", f"Created container: {self.name}", self.spec)
                return running

    async def _attend(self, running: Running) -> None:
        """Care for the container while it runs: its probes."""
        if "startupProbe" in self.spec:
            async for passed in self._verdicts("startup"):
                if passed:
                    break
                self._unhealthy(running, "startup")
        self.started = True
        self.ready = "readinessProbe" not in self.spec
        self._pod.changed()
        await asyncio.gather(self._watch_readiness(), self._watch_liveness(running))

    async def _watch_readiness(self) -> None:
        async for ready in self._verdicts("readiness"):
            if self.ready is not ready:
                self.ready = ready
                self._pod.changed()

    async def _watch_liveness(self, running: Running) -> None:
        async for alive in self._verdicts("liveness"):
            if not alive:
                self._unhealthy(running, "liveness")

    async def _verdicts(self, kind: str) -> AsyncIterator[bool]:
        """Yield what a probe, if there is one, comes to, with events of its failures."""
        if not (probe := self.spec.get(f"{kind}Probe")):
            return
        prober = self._pod.prober(self.spec)
        async for verdict, message in follow(prober, probe, eager=kind != "liveness"):
            if message:
                text = f"{kind.capitalize()} probe failed: {message}"
                self._pod.event("Warning", "Unhealthy", text, self.spec)
            if verdict is not None:
                yield verdict

    def _unhealthy(self, running: Running, kind: str) -> None:
        if self._stopping or self._running is not running or self._stop_message:
            return
        self._stop_message = f"Container {self.name} failed {kind} probe, will be restarted"
        self._pod.event("Normal", "Killing", self._stop_message, self.spec)
        self._ending = asyncio.create_task(self._end(running, self._grace(kind)))

    async def _end(self, running: Running, grace: float) -> None:
        if (self.spec.get("lifecycle") or {}).get("preStop"):
            message = "PreStopHook failed: this node runs no hooks"
            self._pod.event("Warning", "FailedPreStopHook", message, self.spec)
        running.terminate()
        try:
            await asyncio.wait_for(running.wait(), grace)
        except TimeoutError:
            running.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), 10)

    # -- state -------------------------------------------------------------------------------

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self._pod.changed()

    def _ended(self, code: int, reason: str, message: str = "") -> None:
        running = self.state.get("running") or {}
        terminated: Object = {
            "exitCode": code,
            "reason": reason,
            "startedAt": running.get("startedAt"),
            "finishedAt": now(),
            "containerID": self.container_id,
        }
        if message := message or self._termination_message(code):
            terminated["message"] = message
        self.state = {"terminated": terminated}
        self.ready = self.started = False
        self._stop_message = ""
        if self.log is not None:
            self.log.close()
        self._pod.changed()

    def _termination_message(self, code: int) -> str:
        path = self.spec.get("terminationMessagePath") or "/dev/termination-log"
        with contextlib.suppress(OSError, LayerError):
            # Written by the container: never read anything else of this machine by way of a link.
            file = resolve(self._folder / "rootfs", path)
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as opened:
                if text := opened.read(_MESSAGE_BYTES).decode(errors="replace"):
                    return text
        fallback = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if fallback and code != 0 and self.log is not None:
            lines = self.log.path.read_bytes()[-_FALLBACK_BYTES:].split(b"\n")[-80:]
            texts = (line.split(b" ", 3)[-1] for line in lines)
            return b"\n".join(texts).decode(errors="replace")
        return ""

    def _restart_wanted(self) -> bool:
        policy = self._pod.pod["spec"].get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and self.exit_code != 0)

    async def _back_off(self, ran: float) -> None:
        if ran >= _BACKOFF_RESET:
            self._delay = 0.0
        delay = self._delay
        self._delay = min(max(delay * 2, _FIRST_BACKOFF), _LONGEST_BACKOFF)
        self.last_state = self.state
        if not delay:
            return
        metadata = self._pod.pod["metadata"]
        pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        message = f"back-off {_duration(delay)} restarting failed container={self.name} pod={pod}"
        self._wait("CrashLoopBackOff", message)
        message = f"Back-off restarting failed container {self.name} in pod {pod}"
        self._pod.event("Warning", "BackOff", message, self.spec)
        await asyncio.sleep(delay)

    def _grace(self, kind: str) -> float:
        own = self.spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
        if own is None:
            own = self._pod.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if own is None else float(own)


def _duration(seconds: float) -> str:
    """Write a duration as Go does: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"

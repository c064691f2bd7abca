"""How many pods a revision wants: Knative's pod autoscaler algorithm for concurrency.

https://knative.dev/docs/serving/autoscaling/kpa-specific/ and serving/docs/scaling/SYSTEM.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from streamops_sandbox.knative.serving.annotations import annotation, scale_bound, seconds
from streamops_sandbox.knative.serving.window import Window

_DEFAULT_CONCURRENCY = 100.0


@dataclass(frozen=True)
class Settings:
    """What config-autoscaler and a PodAutoscaler's annotations say; times in seconds."""

    target: float
    total: float
    burst: float
    stable: float
    panic: float
    panic_threshold: float
    min_scale: int
    max_scale: int
    max_up: float
    max_down: float
    to_zero: bool
    activation_scale: int

    @classmethod
    def read(cls, config: dict[str, str], autoscaler: dict[str, Any]) -> Settings:
        """Read them; an annotation outranks the ConfigMap."""

        def value(name: str, default: str) -> str:
            return annotation(autoscaler, name) or config.get(name) or default

        limit = float(autoscaler["spec"].get("containerConcurrency") or 0)
        default = float(config.get("container-concurrency-target-default", _DEFAULT_CONCURRENCY))
        total = float(annotation(autoscaler, "target") or limit or default)
        percentage = annotation(autoscaler, "target-utilization-percentage") or config.get(
            "container-concurrency-target-percentage", "70"
        )
        utilization = float(percentage.rstrip("%"))
        utilization = utilization / 100 if utilization > 1 else utilization
        stable = seconds(annotation(autoscaler, "window") or config.get("stable-window", "60s"))
        reachable = autoscaler["spec"].get("reachability") != "Unreachable"
        return cls(
            target=max(0.01, total * utilization),
            total=total,
            burst=float(value("target-burst-capacity", "200")),
            stable=stable,
            panic=stable * float(value("panic-window-percentage", "10.0")) / 100,
            panic_threshold=float(value("panic-threshold-percentage", "200.0")) / 100,
            min_scale=scale_bound(autoscaler, "min-scale", int(config.get("min-scale", 0)))
            if reachable
            else 0,
            max_scale=scale_bound(autoscaler, "max-scale", int(config.get("max-scale", 0))),
            max_up=float(config.get("max-scale-up-rate", "1000.0")),
            max_down=float(config.get("max-scale-down-rate", "2.0")),
            to_zero=config.get("enable-scale-to-zero", "true") != "false",
            activation_scale=scale_bound(autoscaler, "activation-scale", 1),
        )


@dataclass
class Decision:
    """Pods wanted, and whether the activator has to stay in the path."""

    scale: int
    proxied: bool


class Decider:
    """Decides for one revision; remembers whether it panics."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._panicking_since: float | None = None
        self._panic_peak = 0

    def decide(self, settings: Settings, ready: int, moment: float) -> Decision:
        """Return what the load of the last stable and panic windows asks for."""
        base = max(1, ready)
        stable = self.window.average(moment, settings.stable)
        panic = self.window.average(moment, settings.panic)
        up = math.ceil(settings.max_up * base)
        down = math.floor(base / settings.max_down) if ready else 0
        by_stable = min(max(math.ceil(round(stable / settings.target, 6)), down), up)
        by_panic = min(max(math.ceil(round(panic / settings.target, 6)), down), up)
        if by_panic / base >= settings.panic_threshold:
            self._panicking_since = moment
        elif moment - (self._panicking_since or moment) >= settings.stable:
            self._panicking_since, self._panic_peak = None, 0
        wanted = by_stable
        if self._panicking_since is not None:
            self._panic_peak = max(self._panic_peak, by_panic)
            wanted = self._panic_peak
        if stable == 0 and not self.window.busy():
            wanted = 0
        return Decision(
            _bounded(settings, wanted, busy=self.window.busy()),
            self._proxied(settings, ready, panic),
        )

    @staticmethod
    def _proxied(settings: Settings, ready: int, panic: float) -> bool:
        if settings.burst < 0 or not ready:
            return True
        if settings.burst == 0:
            return False
        return math.floor(ready * settings.total - settings.burst - panic) < 0


def _bounded(settings: Settings, wanted: int, *, busy: bool) -> int:
    if busy or wanted:
        wanted = max(wanted, settings.activation_scale)
    floor = settings.min_scale if settings.to_zero else max(1, settings.min_scale)
    wanted = max(wanted, floor)
    return min(wanted, settings.max_scale) if settings.max_scale else wanted

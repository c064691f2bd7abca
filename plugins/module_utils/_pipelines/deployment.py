"""Deployment and removal of pipelines, in an order in which no producer runs without its sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from .._knative import sink_binding
from .._kubernetes.apply import Settings
from .._kubernetes.apply_run import Options, Result, absent, present
from .._kubernetes.client import Client, Resource
from .._kubernetes.delete import deletions
from .._kubernetes.errors import KubeError
from .._kubernetes.manifests import Source

APPLY_SET = "twitter-pipeline"
PRODUCERS = f"{APPLY_SET}-producers"
#: Knative's kinds, which in check mode an earlier task may only have planned.
KINDS = [
    Resource(api_version, kind, plural, namespaced=True)
    for api_version, kind, plural in (
        ("serving.knative.dev/v1", "Service", "services"),
        ("sources.knative.dev/v1", "SinkBinding", "sinkbindings"),
        ("sources.knative.dev/v1", "ContainerSource", "containersources"),
        ("eventing.knative.dev/v1", "Broker", "brokers"),
        ("eventing.knative.dev/v1", "Trigger", "triggers"),
    )
]


@dataclass
class Deployment:
    """The pipelines of one cluster; `timeout`, in seconds, is that of each wait.

    `namespaces` is what `apply` does about namespaces of others. `results` are those of the steps so far.
    """

    client: Client
    namespaces: str
    timeout: float
    check_mode: bool
    #: Owner of the pipelines, and where it is recorded what they consist of.
    scope: str
    state_namespace: str
    progress: Callable[[str], None]
    results: list[Result] = field(default_factory=list)

    def deploy(
        self, base: list[Source], bindings: list[Source], producers: list[Source]
    ) -> list[Result]:
        """Apply, step by step; what left the pipelines is pruned: subjects first, then their bindings.

        Raises Refused, Interrupted, NotReady or BindingError, with `changed` of all steps.
        """
        spaces = [s.definition["metadata"]["name"] for s in base if _kind(s) == "Namespace"]
        options = replace(
            self._options(APPLY_SET),
            foreseen_kinds=KINDS,
            foreseen_namespaces=spaces,
        )
        with self._accounting():
            applied = self._present(base, options)
            surplus = applied.surplus
            if bindings:
                # Knative resolves a binding's sink only once there is a subject.
                bound = self._present(bindings, replace(options, wait=False, own_kinds=True))
                titles = {item.title for item in bound.items}
                surplus = [title for title in surplus if title not in titles]
                self._await_bindings(bindings, for_subjects=False)
            self._present(
                producers, replace(options, apply_set=PRODUCERS, prune=True, replace=True)
            )
            if surplus:
                self._present([*base, *bindings], replace(options, prune=True))
            scheduled = {_place(source) for source in producers if _kind(source) == "CronJob"}
            # A CronJob has no Job to look at until it is due.
            due = [binding for binding in bindings if _place(binding) not in scheduled]
            self._await_bindings(due, for_subjects=True)
        return self.results

    def remove(self) -> list[Result]:
        """Delete all pipelines, the producers first: without its binding one would be rolled out again."""
        with self._accounting():
            settings = self._settings()
            for name in (PRODUCERS, APPLY_SET):
                result = absent(self.client, [], settings, self._options(name), self.progress)
                self.results.append(result)
                # In check mode they are still there.
                deleted = deletions(result.objects()) | result.records
                settings = replace(settings, planned_deletions=deleted)
        return self.results

    def _options(self, apply_set: str) -> Options:
        return Options(
            apply_set=apply_set,
            apply_set_namespace=self.state_namespace,
            apply_set_scope=self.scope,
            wait_timeout=self.timeout,
        )

    def _present(self, sources: list[Source], options: Options) -> Result:
        result = present(self.client, sources, self._settings(), options, self.progress)
        self.results.append(result)
        return result

    def _settings(self) -> Settings:
        return Settings(
            check_mode=self.check_mode, namespaces=self.namespaces, recreate=True, repair=True
        )

    def _await_bindings(self, bindings: list[Source], *, for_subjects: bool) -> None:
        """Wait until the webhook covers the bindings' subjects or, `for_subjects`, these have K_SINK."""
        deadline = time.monotonic() + self.timeout
        for binding in [] if self.check_mode else bindings:
            namespace, name = _place(binding)
            waiter = sink_binding.Waiter(self.client, name, namespace, self.progress)
            waiter.wait(timeout=max(0, deadline - time.monotonic()), for_subjects=for_subjects)

    @contextmanager
    def _accounting(self) -> Iterator[None]:
        """Have errors report whether an earlier step has changed anything."""
        try:
            yield
        except KubeError as error:
            earlier = any(result.changed for result in self.results) and not self.check_mode
            error.result["changed"] = earlier or error.result.get("changed", False)
            raise


def _kind(source: Source) -> str:
    return str(source.definition["kind"])


def _place(source: Source) -> tuple[str, str]:
    metadata = source.definition["metadata"]
    return metadata.get("namespace", "default"), metadata["name"]

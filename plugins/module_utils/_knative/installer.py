"""Installs, upgrades and removes Knative on a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .._kubernetes.apply import Settings
from .._kubernetes.apply_run import Options, Result, absent, present
from .._kubernetes.client import Client
from .._kubernetes.delete import deletions
from .._kubernetes.download import Download, Downloader, cache_dir
from .._kubernetes.errors import KubeError, accounting
from .._kubernetes.managed_fields import record
from .._kubernetes.manifests import Manifests, Refused, Source, read
from .._kubernetes.patches import Patch
from .._module.progress import paced
from .._module.task import Run
from .bundle import PULL_SECRET, SILENT, DesiredState, Plan, plan, pull_secrets
from .customization import LIMITS, Customization, missing
from .images import references, replaced
from .installation import RECORD, installed
from .releases import PROJECTS, Files

Object = dict[str, Any]
APPLY_SET = "streamops-knative"
MIGRATIONS = f"{APPLY_SET}-migrations"
#: Checks images, given as what each one that the releases name is pulled by, and as those that settings put in;
#: raises TaskError for those refused.
Verify = Callable[[Mapping[str, str], Collection[str]], None]
CONFIGURATION_MANAGER = "streamops.knative-configuration"
SCRAPED = ("serving", "eventing")
#: Workloads whose pods a controller starts when they are needed.
_SCALED = {
    "pingsource-mt-adapter": "Deployment",
    **{f"kafka-{part}-dispatcher": "StatefulSet" for part in ("broker", "channel", "source")},
}


class Installer:
    """Runs against one cluster, with the options of the module `knative`."""

    def __init__(self, client: Client, run: Run) -> None:
        params = run.params
        self._client = client
        self._check_mode = run.check_mode
        self._progress = paced(run.progress)
        self._warn = run.warn
        self._cache = cache_dir(params["cache_dir"])
        self._request_timeout = params["request_timeout"]
        self._settings = Settings(
            retry_timeout=params["wait_timeout"],
            check_mode=run.check_mode,
            namespaces="label",
            planned_deletions=deletions(params["planned_deletions"] if run.check_mode else []),
        )
        self._options = Options(
            apply_set=APPLY_SET,
            apply_set_scope=params["scope"],
            wait_timeout=params["wait_timeout"],
            delete_custom_resources=params["delete_resources"],
        )

    def install(
        self, desired: DesiredState, *, monitors: bool, verify: Verify | None = None
    ) -> tuple[Plan, list[Result]]:
        """Apply the releases, wait until they run, then run the migrations of an upgrade.

        Raises Refused before, Interrupted or NotReady after something changed.
        """
        made = plan(self._client, desired)
        for warning in made.warnings:
            self._warn(warning)
        written = self._read(made.install)
        jobs = self._read(made.post_install)
        release = _referring(written, desired.references)
        additional = self._read(_files(desired.additional_manifests))
        settings = desired.settings
        if desired.pull_login:
            additional += _sources("Secrets to pull images with", pull_secrets(desired))
            secrets = [*settings.image_pull_secrets, PULL_SECRET]
            settings = replace(settings, image_pull_secrets=secrets)
        custom = Customization(settings, [source.definition for source in release])
        problems = custom.problems() or missing(
            self._client, settings, [s.definition for s in [*release, *additional]]
        )
        if problems:
            raise Refused(problems)
        release = _customized(custom, release)
        migrations = _customized(custom, _referring(jobs, desired.references))
        if verify:
            named = _images([*written, *jobs])
            pulled = {name: custom.pulled(desired.references.get(name, name)) for name in named}
            applied = _images([*release, *migrations, *additional])
            applied |= _patched_images(made.patches)
            verify(pulled, applied - {*pulled.values()})
        release = self._started(release)
        if made.takes_over:
            release = self._without_foreign_limits(release)
        sources = [*release, *additional]
        if monitors and made.prometheus:
            scraped = [PROJECTS[name].namespace for name in SCRAPED if name in desired.components]
            sources += _sources("monitors", map(_monitor, scraped))
        extra = _sources("objects that the releases lack", made.extra_objects)
        sources += [replace(source, is_extra=True) for source in extra]
        results = [
            present(
                self._client,
                sources,
                replace(self._settings, force_conflicts=made.takes_over),
                replace(
                    self._options, prune=True, patches=made.patches, wait_conditions=list(SILENT)
                ),
                self._progress,
            )
        ]
        if migrations:
            options = replace(self._options, apply_set=MIGRATIONS)
            with accounting(
                changed=results[0].changed and not self._check_mode, dry_run=self._check_mode
            ):
                results.append(
                    present(self._client, migrations, self._settings, options, self._progress)
                )
        return made, results

    def configure(self, desired: DesiredState, domain: str) -> Result:
        """Set the domain of services, empty for none, and record the releases that are complete.

        A manager of its own owns both, so that the releases' values and these do not get in each other's way.
        """
        records: dict[str, dict[str, str]] = {}
        for name in desired.projects:
            if PROJECTS[name].post_install:
                found = records.setdefault(PROJECTS[name].namespace, {})
                found[name] = str(desired.versions[name])
        objects = [_config_map(RECORD, namespace, data) for namespace, data in records.items()]
        if "serving" in desired.components:
            namespace = PROJECTS["serving"].namespace
            objects.append(_config_map("config-domain", namespace, {domain: ""} if domain else {}))
        settings = replace(
            self._settings,
            field_manager=CONFIGURATION_MANAGER,
            force_conflicts=desired.adopt,
        )
        options = Options(foreseen_namespaces=[PROJECTS[name].namespace for name in SCRAPED])
        sources = _sources("domain and record", objects)
        return present(self._client, sources, settings, options, self._progress)

    def remove(self, leader_buckets: int) -> list[Result]:
        """Delete everything that was installed; connections first, while their controllers run."""
        foreign = [name for name, part in installed(self._client).items() if not part.ours]
        if foreign:
            raise KubeError(
                f"{', '.join(foreign)} was installed by somebody else. To remove it, first take it over:"
                " state present with adopt (knative_eventing_state=present, knative_eventing_adopt=true)"
            )
        records = [_config_map(RECORD, PROJECTS[name].namespace, {}) for name in SCRAPED]
        left = _sources("what Knative leaves", [*records, *_buckets(leader_buckets)])
        results: list[Result] = []
        settings = self._settings
        for name, sources in ((MIGRATIONS, []), (APPLY_SET, left)):
            changed = any(result.changed for result in results) and not self._check_mode
            options = replace(self._options, apply_set=name)
            with accounting(changed=changed, dry_run=self._check_mode):
                result = absent(self._client, sources, settings, options, self._progress)
            results.append(result)
            deleted = settings.planned_deletions | deletions(result.objects())
            settings = replace(settings, planned_deletions=deleted)
        return results

    def _started(self, sources: list[Source]) -> list[Source]:
        """Return the sources without what controllers have set of the workloads that they start when needed.

        They write the number of pods, some the values of variables, and own them from then on.
        """
        return [replace(source, definition=self._ours(source.definition)) for source in sources]

    def _ours(self, definition: Object) -> Object:
        metadata, kind = definition["metadata"], definition["kind"]
        if _SCALED.get(metadata["name"]) != kind:
            return definition
        resource = self._client.resource("apps/v1", kind)
        live = self._client.get(resource, metadata["name"], metadata["namespace"])
        applied = record(live, self._settings.field_manager) if live else None
        return _without_lost(definition, applied["fieldsV1"]["f:spec"]) if applied else definition

    def _without_foreign_limits(self, sources: list[Source]) -> list[Source]:
        """Take the limits that others have set of budgets away, where ours are of the other kind.

        A budget has only one limit, and an apply leaves what others own. Returns the sources, in check mode
        without those budgets, which cannot be tried out.
        """
        resource = self._client.resource("policy/v1", "PodDisruptionBudget")
        left = []
        for source in sources:
            definition = source.definition
            if definition["kind"] == resource.kind:
                name, namespace = (definition["metadata"][key] for key in ("name", "namespace"))
                live = self._client.get(resource, name, namespace) or {"spec": {}}
                foreign = (live["spec"].keys() & LIMITS) - definition["spec"].keys()
                if foreign and self._check_mode:
                    continue
                if foreign:
                    limits = {key: definition["spec"].get(key) for key in LIMITS}
                    self._client.patch(resource, name, namespace, {"spec": limits})
            left.append(source)
        return left

    def _read(self, files: Files) -> list[Source]:
        """Return the objects of files."""
        downloader = Downloader(self._cache, timeout=self._request_timeout)
        manifests = Manifests()
        read(manifests, contents=[], files=files.paths, urls=files.urls, downloader=downloader)
        for warning in [*downloader.warnings, *manifests.warnings]:
            self._warn(warning)
        return manifests.result()


def _referring(sources: list[Source], instead: Mapping[str, str]) -> list[Source]:
    """Return objects with other references in place of those of images."""
    if not instead:
        return sources
    return [
        replace(source, definition=replaced(source.definition, lambda r: instead.get(r, r)))
        for source in sources
    ]


def _customized(custom: Customization, sources: list[Source]) -> list[Source]:
    return [replace(source, definition=custom.changed(source.definition)) for source in sources]


def _images(sources: Iterable[Source]) -> set[str]:
    return {name for source in sources for name in references(source.definition)}


def _patched_images(patches: Iterable[Patch]) -> set[str]:
    """Return the images that a configuration puts into ConfigMaps."""
    maps = [patch for patch in patches if patch.kind == "ConfigMap"]
    return {name for one in maps for name in references({"kind": one.kind, **one.merge})}


def _without_lost(definition: Object, owned: Object) -> Object:
    """Return a workload without the number of pods and the variables' values that others own meanwhile.

    `owned` are the fields of its `spec` that are still ours, as managedFields has them.
    """
    template = definition["spec"]["template"]
    (container,) = template["spec"]["containers"]
    containers = owned["f:template"]["f:spec"]["f:containers"]
    variables = containers[_key(container)].get("f:env", {})
    env = [
        {"name": entry["name"]}
        if variables.get(_key(entry), {}).keys() == {".", "f:name"}
        else entry
        for entry in container.get("env") or []
    ]
    pod = {**template["spec"], "containers": [{**container, **({"env": env} if env else {})}]}
    spec = {**definition["spec"], "template": {**template, "spec": pod}}
    if "f:replicas" not in owned:
        spec.pop("replicas", None)
    return {**definition, "spec": spec}


def _key(entry: Object) -> str:
    """Return how managedFields names an entry of a list."""
    return f"k:{json.dumps({'name': entry['name']}, separators=(',', ':'))}"


def _files(manifests: list[str]) -> Files:
    """Return paths and URLs apart."""
    urls = [text for text in manifests if text.startswith(("http://", "https://"))]
    return Files(
        [text for text in manifests if text not in urls],
        [Download(url) for url in urls],
    )


def _sources(origin: str, objects: Iterable[Object]) -> list[Source]:
    manifests = Manifests()
    for item in objects:
        manifests.add(origin, json.dumps(item))
    return manifests.result()


def _monitor(namespace: str) -> Object:
    """Return a PodMonitor: every pod that names a port `metrics` is scraped."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {
            "name": namespace,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": namespace},
        },
        "spec": {"selector": {}, "podMetricsEndpoints": [{"port": "metrics"}]},
    }


def _config_map(name: str, namespace: str, data: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _buckets(count: int) -> list[Object]:
    """Return the Services that Serving's autoscaler makes without an owner, and leaves behind."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": f"autoscaler-bucket-{number:02d}-of-{count:02d}",
                "namespace": PROJECTS["serving"].namespace,
            },
        }
        for number in range(count)
    ]

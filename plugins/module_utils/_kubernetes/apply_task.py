"""The work of the module `apply`: what its options are to the rest of this package."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from .._module.progress import paced
from .._module.task import Run
from . import json_path
from .apply import Settings
from .apply_run import Options, absent, present, summarize
from .argspec import connect
from .delete import deletions
from .download import Download, Downloader, cache_dir
from .errors import KubeError
from .manifests import Manifests, Source, read
from .patches import Patch
from .readiness import Condition


def apply(run: Run) -> dict[str, Any]:
    """Do what the options say; returns the module's results."""
    for number, condition in enumerate(run.params["wait_conditions"]):
        try:
            json_path.parse(condition["json_path"] or "kind")
        except ValueError as error:
            raise KubeError(f"wait_conditions[{number}]: json_path: {error}") from error
    manifests = sources(run)
    client = connect(run)
    work = present if run.params["state"] == "present" else absent
    progress = paced(run.progress)
    result = work(client, manifests, settings(run), options(run.params), progress)
    return summarize(run, client, [result])


def sources(run: Run) -> list[Source]:
    """Read all manifests; raises Refused with everything that is wrong with them."""
    params = run.params
    if params["templates"]:
        raise KubeError("templates are rendered by the action plugin: call streamops.knative.apply")
    downloader = Downloader(cache_dir(params["cache_dir"]), timeout=params["request_timeout"])
    strict = params["validate"] == "strict"
    found = Manifests(strict=strict, warn_duplicates=params["validate"] == "warn")
    read(
        found,
        contents=params["contents"] + inline(params["definitions"] or []),
        files=params["files"] or [],
        urls=[Download(one["url"], one["checksum"] or "") for one in params["urls"]],
        downloader=downloader,
    )
    for warning in [*downloader.warnings, *found.warnings]:
        run.warn(warning)
    if not found.result() and not (params["state"] == "absent" and params["apply_set"]):
        raise KubeError(
            "There is nothing to apply: give definitions, templates, files or urls"
            " (or, with state: absent, the apply_set to remove)"
        )
    return found.sources


def inline(definitions: list[Any]) -> list[dict[str, str]]:
    """Return definitions as named texts."""
    return [
        {
            "name": f"definitions[{number}]",
            "text": value if isinstance(value, str) else json.dumps(value),
        }
        for number, value in enumerate(definitions)
    ]


def settings(run: Run) -> Settings:
    """Return how to apply."""
    params = run.params
    return Settings(
        **{field.name: params[field.name] for field in fields(Settings) if field.name in params}
        | {
            "check_mode": run.check_mode,
            "concurrency": max(1, params["concurrency"]),
            "planned_deletions": deletions(params["planned_deletions"] if run.check_mode else []),
        }
    )


def options(params: dict[str, Any]) -> Options:
    """Return what else to do."""
    return Options(
        **{field.name: params[field.name] for field in fields(Options) if field.name in params}
        | {
            "apply_set": params["apply_set"] or "",
            "patches": [Patch(**patch) for patch in params["patches"]],
            "wait_conditions": [Condition(**entry) for entry in params["wait_conditions"]],
        }
    )

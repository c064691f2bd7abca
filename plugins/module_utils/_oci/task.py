"""The task of a module that speaks to registries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from ansible_collections.streamops.knative.plugins.module_utils._oci.argspec import REGISTRY
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OciError

_LIBRARIES = "oras (with requests) and packaging"


def OciTask(
    work_with_libraries: Callable[[Run], dict[str, Any]],
    options: Mapping[str, Mapping[str, Any]],
    import_error: str | None = None,
) -> Task:
    """Return the task; `import_error` is the traceback where a library could not be imported."""
    work = functools.partial(_work, work_with_libraries, import_error)
    return Task(work, {**REGISTRY, **options})


def _work(
    function: Callable[[Run], dict[str, Any]], import_error: str | None, run: Run
) -> dict[str, Any]:
    if import_error:
        raise OciError(missing_required_lib(_LIBRARIES), exception=import_error)
    return function(run)

"""What an image module does, apart from where it runs.

With a local connection the work is done in Ansible's worker, without a process of its own: starting a
module and importing what speaks to registries takes several times as long as building and pushing an
application's layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._google.task import ModuleRun, Run
from ansible_collections.streamops.knative.plugins.module_utils._oci.argspec import REGISTRY
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OciError

_LIBRARIES = "oras (with requests) and packaging"


@dataclass(frozen=True)
class OciTask:
    """A module's function and its options (besides those of REGISTRY), as AnsibleModule takes them.

    `import_error` is the traceback where what the function needs could not be imported.
    """

    work_with_libraries: Callable[[Run], dict[str, Any]]
    options: Mapping[str, Mapping[str, Any]]
    import_error: str | None = None

    error = OciError

    @property
    def argument_spec(self) -> dict[str, Any]:
        """All options."""
        return {**REGISTRY, **self.options}

    @property
    def constraints(self) -> dict[str, Any]:
        """What else is demanded of the options."""
        return {}

    def work(self, run: Run) -> dict[str, Any]:
        """Do it; OciError where it cannot be done."""
        if self.import_error:
            # Not wanted in Ansible's worker, where importing it costs 90 ms.
            from ansible.module_utils.basic import missing_required_lib  # noqa: PLC0415

            raise OciError(missing_required_lib(_LIBRARIES), {"exception": self.import_error})
        return self.work_with_libraries(run)

    def main(self) -> None:
        """Run as a module."""
        # Not wanted in Ansible's worker, where importing it costs 90 ms.
        from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

        module = AnsibleModule(argument_spec=self.argument_spec, supports_check_mode=True)
        run = ModuleRun(module.params, module.check_mode, module._diff, module.warn)
        try:
            result = self.work(run)
        except OciError as error:
            module.fail_json(msg=str(error), **error.result)
        module.exit_json(**result)

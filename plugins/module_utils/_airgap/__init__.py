from ansible_collections.streamops.knative.plugins.module_utils._module import minimum_python  # noqa: F401

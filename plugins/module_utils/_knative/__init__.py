from .._module import minimum_python  # noqa: F401 - imported for its check of the Python

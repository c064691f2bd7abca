from .._module import minimum_python  # noqa: F401

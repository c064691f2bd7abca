"""CEL expressions: rules of custom resources and match conditions of webhooks.

Evaluated by cel-expr-python, the Python face of Google's C++ implementation, without the functions that Kubernetes
adds. https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from streamops_sandbox.kube import errors

#: Names of variables and their types: `dyn` is decided when the expression is evaluated.
Variables = tuple[tuple[str, str], ...]
ADMISSION: Variables = (("object", "dyn"), ("oldObject", "dyn"), ("request", "dyn"))
#: Functions of Kubernetes' libraries that are not modelled.
_MISSING = re.compile(
    r"\b(find|findAll|isURL|url|isIP|ip|isCIDR|cidr|isQuantity|quantity|isSemver|semver|authorizer|format|isSorted|sum)\b\s*[.(]"
)


class CelError(ValueError):
    """An expression that does not compile, or whose evaluation fails; the message is CEL's."""


def problem(expression: str, variables: Variables, result: str = "BOOL", mistyped: str = "") -> str:
    """Return why an expression does not compile, or why it has another type; empty where it is fine.

    `mistyped` has a place for the type that it has. Raises a 501.
    """
    try:
        kind = _program(expression, variables).return_type().name()
    except CelError as error:
        return f"compilation failed: {error}"
    return "" if kind in (result, "DYN") else mistyped.format(kind.lower())


def evaluate(expression: str, variables: Variables, data: Mapping[str, Any]) -> Any:
    """Return an expression's value; raises CelError."""
    value = _program(expression, variables).eval(data=dict(data))
    if value.type().name() in ("ERROR", "error", "UNKNOWN"):
        raise CelError(_text(value.value()))
    return value.value()


def _text(error: object) -> str:
    text = re.sub(r"^[A-Z_]+: ", "", str(error))
    return re.sub(r" \[[A-Z_]+\]\Z", "", text)


@lru_cache(maxsize=512)
def _program(expression: str, variables: Variables) -> Any:
    missing = _MISSING.search(expression)
    if missing:
        raise errors.not_implemented(f"the CEL function {missing[1]!r}")
    try:
        return _environment(variables).compile(expression)
    except RuntimeError as error:
        raise CelError(_text(error)) from error


@lru_cache(maxsize=16)
def _environment(variables: Variables) -> Any:
    # 16 MB of machine code that most clusters never need.
    from cel_expr_python import cel  # noqa: PLC0415
    from cel_expr_python.ext import ext_optional, ext_strings  # noqa: PLC0415

    kinds = cel.Type
    types = {
        "string": kinds.STRING, "integer": kinds.INT, "number": kinds.DOUBLE, "boolean": kinds.BOOL,
    }  # fmt: skip
    return cel.NewEnv(
        variables={name: types.get(kind, kinds.DYN) for name, kind in variables},
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
    )

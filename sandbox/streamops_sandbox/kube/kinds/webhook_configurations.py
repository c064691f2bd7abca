"""Validating and mutating webhook configurations."""

from __future__ import annotations

from urllib.parse import urlsplit

from streamops_sandbox.kube import cel
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.declared import function
from streamops_sandbox.objects import Object

_URL_FORM = "desired format: https://host[/path]"


@function
def webhook_url(url: str | None, field: str, found: Causes, _: Object) -> None:
    """Check where a webhook outside of the cluster is."""
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        text = f"'https' is the only allowed URL scheme; {_URL_FORM}"
        found.invalid(field, parts.scheme, text)
    if not parts.netloc:
        found.invalid(field, "", f"host must be specified; {_URL_FORM}")


@function
def match_condition(expression: str | None, field: str, found: Causes, _: Object) -> None:
    """Check the expression of a webhook's match condition."""
    mistyped = "must evaluate to bool but got {}"
    problem = cel.problem(expression or "", cel.ADMISSION, mistyped=mistyped)
    if problem:
        found.invalid(field, expression, problem)

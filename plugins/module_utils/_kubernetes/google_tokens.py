"""Access tokens from Google for kubeconfigs that streamops.knative.gke_kubeconfig wrote.

A token lasts an hour at most. Beside it the kubeconfig names, in an extension of its user, the options of
Google's modules that it came from: no secret, and enough to get another one, which is kept in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import ConfigError, Unreachable

#: Name of the extension: `expires` (RFC 3339) and `google` (options of Google's modules).
EXTENSION = "streamops.knative"

Credentials = dict[str, Any]


def source(user: Mapping[str, Any]) -> Callable[[], Credentials] | None:
    """Return the function that gets another token for a `user`, None for a token of another origin."""
    options = _extension(user).get("google")
    return functools.partial(credentials, options) if isinstance(options, Mapping) else None


def expires(user: Mapping[str, Any]) -> datetime | None:
    """Return when the token of a `user` expires (UTC), None where that is not known."""
    if not user.get("token"):
        return datetime.fromtimestamp(0, UTC)
    try:
        return datetime.fromisoformat(str(_extension(user).get("expires"))).astimezone(UTC)
    except ValueError:
        return None


def credentials(options: Mapping[str, Any]) -> Credentials:
    """Return a new token as `api_key`, and when it `expires` (UTC or None).

    Raises ConfigError where Google refuses it, Unreachable where Google does not answer.
    """
    # Late, since few clusters need it.
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # noqa: PLC0415 - late

    from .._google import argspec, errors  # noqa: PLC0415 - late

    checked = ArgumentSpecValidator(argspec.GOOGLE).validate(dict(options))
    if checked.error_messages:
        raise ConfigError(f"kubeconfig: extension {EXTENSION}: {checked.error_messages[0]}")
    try:
        token, until = argspec.session(checked.validated_parameters).access_token()
    except (errors.TokenUnavailable, errors.Unreachable) as error:
        raise Unreachable(f"kubeconfig: no new token from Google: {error}") from error
    except errors.GcpError as error:
        raise ConfigError(f"kubeconfig: no new token from Google: {error}") from error
    return {"api_key": token, "expires": until}


def _extension(user: Mapping[str, Any]) -> Mapping[str, Any]:
    extensions = user.get("extensions")
    for entry in extensions if isinstance(extensions, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == EXTENSION:
            found = entry.get("extension")
            return found if isinstance(found, Mapping) else {}
    return {}

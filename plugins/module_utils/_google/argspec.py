"""The options every Google module has, and the session they ask for.

Documented once, in the doc fragment `streamops.knative.google`. The names are google.cloud's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.parameters import env_fallback

from .auth import CLOUD_PLATFORM, USERINFO_EMAIL, AuthOptions
from .errors import ConfigError
from .session import SERVICES, Session, Settings

#: A project's ID, or its number (https://cloud.google.com/resource-manager/docs/creating-managing-projects).
PROJECT = re.compile(r"([a-z][a-z0-9.-]{0,61}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|\d{6,19}")


_OF_ENVIRONMENT: dict[str, dict[str, Any]] = {
    "project": {"type": "str"},
    "auth_kind": {
        "type": "str",
        "default": "application",
        "choices": ["application", "machineaccount", "serviceaccount", "accesstoken"],
    },
    "service_account_file": {"type": "path"},
    "service_account_contents": {"type": "jsonarg", "no_log": True},
    "service_account_email": {"type": "str"},
    "access_token": {"type": "str", "no_log": True},
    "impersonate_service_account": {"type": "str"},
    "scopes": {"type": "list", "elements": "str", "default": [CLOUD_PLATFORM, USERINFO_EMAIL]},
    "endpoint": {"type": "str"},
}
GOOGLE: dict[str, dict[str, Any]] = {
    **{
        name: {"fallback": (env_fallback, [f"GCP_{name.upper()}"]), **spec}
        for name, spec in _OF_ENVIRONMENT.items()
    },
    "endpoints": {"type": "dict"},
    "request_timeout": {"type": "float", "default": 30.0},
    "request_retries": {"type": "int", "default": 5},
    "propagation_timeout": {"type": "float", "default": 300.0},
}


def session(
    options: dict[str, Any],
    *,
    check_mode: bool = False,
    progress: Callable[[str], None] = lambda _sentence: None,
) -> Session:
    """Return the session for the options of GOOGLE."""
    project = options["project"]
    if options["request_retries"] < 0 or options["request_timeout"] <= 0:
        raise ConfigError("request_retries is at least 0, request_timeout more than 0")
    if project and not PROJECT.fullmatch(project):
        raise ConfigError(
            f"project: '{project}' is not a valid project ID: 6 to 30 lower-case letters, digits and"
            " hyphens, a letter first"
        )
    settings = Settings(
        project=project,
        endpoint=options["endpoint"],
        endpoints={**_overrides(), **(options["endpoints"] or {})},
        timeout=options["request_timeout"],
        retries=options["request_retries"],
        propagation=options["propagation_timeout"],
    )
    _check_addresses(settings)
    names = AuthOptions.__dataclass_fields__
    return Session(
        settings,
        AuthOptions(
            **{name: options[name] for name in names if name in options},
            iam_endpoint=_iam_endpoint(settings),
        ),
        check_mode=check_mode,
        progress=progress,
    )


def _check_addresses(settings: Settings) -> None:
    for option, url in (("endpoint", settings.endpoint), *settings.endpoints.items()):
        parts = urlsplit(url or "https://x")
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            usable = False
        if not usable:
            where = option if option == "endpoint" else f"endpoints: {option}"
            raise ConfigError(
                f"{where}: '{url}' is not a valid URL, for example https://gke.example.com"
            )


def _iam_endpoint(settings: Settings) -> str | None:
    base = settings.base("iamcredentials")
    return None if base == SERVICES["iamcredentials"] else base


def _overrides() -> dict[str, str]:
    """Return gcloud's own variables for endpoints, such as CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER."""
    named = {
        service: os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}", "")
        for service in SERVICES
    }
    return {service: url for service, url in named.items() if url}

"""Names of Google service accounts.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.
"""

from __future__ import annotations

import re

from .errors import ConfigError
from .session import Session

_NAME = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")


def path(session: Session, name: str) -> str:
    """Return the API's path of an account, which ends in its e-mail address; raise ConfigError for a bad name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name: '{name}' is not a valid service account name: 6 to 30 lower-case letters, digits and"
            " hyphens, a letter first and no hyphen last"
        )
    # a project of a domain, "example.com:shop", is shop.example.com here
    domain = ".".join(reversed(session.project_id.split(":")))
    email = f"{name}@{domain}.iam.gserviceaccount.com"
    return f"v1/projects/{session.project}/serviceAccounts/{email}"

"""Who signs the images of Knative's releases.

https://knative.dev/docs/reference/security/verifying-images/. The identity is that of the service account that
the release jobs run as. Envoy's images, which Kourier runs, are not signed by their project.
"""

from __future__ import annotations

from typing import Any

#: Entries of the option `signers`.
SIGNERS: tuple[dict[str, Any], ...] = (
    {
        "images": "gcr.io/knative-releases/*",
        "identity": "signer@knative-releases.iam.gserviceaccount.com",
        "issuer": "https://accounts.google.com",
    },
    {"images": "docker.io/envoyproxy/*", "unsigned": True},
)

"""Labels, annotations and names Serving uses on its objects."""

from __future__ import annotations

API = "serving.knative.dev/v1"
NETWORKING = "networking.internal.knative.dev/v1alpha1"

_GROUP = "serving.knative.dev"
SERVICE = f"{_GROUP}/service"
SERVICE_UID = f"{_GROUP}/serviceUID"
CONFIGURATION = f"{_GROUP}/configuration"
CONFIGURATION_GENERATION = f"{_GROUP}/configurationGeneration"
REVISION = f"{_GROUP}/revision"
ROUTE = f"{_GROUP}/route"
VISIBILITY = "networking.knative.dev/visibility"
INGRESS_CLASS = "networking.knative.dev/ingress.class"
AUTOSCALER_CLASS = "autoscaling.knative.dev/class"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

KOURIER = "kourier.ingress.networking.knative.dev"


def inherited(annotations: dict[str, str] | None) -> dict[str, str]:
    """Return the annotations a child takes over from its parent."""
    return {key: value for key, value in (annotations or {}).items() if key != LAST_APPLIED}

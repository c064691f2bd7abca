"""Stand-ins for the upstream Knative images: both planes, one program per image."""

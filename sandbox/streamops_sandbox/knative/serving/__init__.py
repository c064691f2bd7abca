"""Programs of Knative Serving: webhook, controller, autoscaler, activator and queue-proxy."""

"""Programs of Knative Eventing: webhook, controllers, channel dispatcher, broker and sources."""

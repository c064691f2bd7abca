"""Stand-ins for the networks that need no key: Bluesky's Jetstream, Mastodon, feeds."""

from streamops_sandbox.networks.app import create_app

__all__ = ["create_app"]

"""Stand-ins for the networks that need no key: Bluesky's Jetstream, Mastodon, feeds."""

"""Token endpoints: OAuth 2.0 and the Security Token Service."""

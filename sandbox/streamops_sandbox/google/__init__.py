"""A stand-in for the Google Cloud APIs that the collection uses."""

from streamops_sandbox.google.app import ACCOUNT, PROJECT, create_app

__all__ = ["ACCOUNT", "PROJECT", "create_app"]

"""A stand-in for the Google Cloud APIs that the collection uses."""

from .app import ACCOUNT, PROJECT, create_app

__all__ = ["ACCOUNT", "PROJECT", "create_app"]

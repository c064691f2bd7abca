"""Delivers posts from X (Twitter) as CloudEvents to the sink of a Knative SinkBinding."""

__version__ = "1.0.0"

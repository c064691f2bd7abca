"""Receives CloudEvents, keeps a bounded history, shows it live."""

"""Endpoints below or beside objects: logs, scale, tokens, reviews, proxies."""

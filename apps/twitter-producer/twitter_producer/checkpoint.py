"""The checkpoint as text: how far a source has been read, and which one."""

from __future__ import annotations

import json
from typing import Any

from twitter_producer import json_text

VERSION = 1
#: Checkpoints of X carry no name of a source: they were there before the others.
X = "x"


class UnreadableCheckpoint(Exception):
    """The stored text is not a checkpoint of this program."""


def text(state: dict[str, Any], network: str, writer: str = "") -> str:
    """Return a source's state as JSON text; `writer` is the process that writes it."""
    head = {"version": VERSION, "writer": writer}
    return json.dumps(head | ({} if network == X else {"network": network}) | state)


def parse(stored: str, network: str) -> dict[str, Any]:
    """Return the state that `text` wrote; UnreadableCheckpoint if it is another network's."""
    try:
        state = json_text.decode(stored)
        if state["version"] != VERSION:
            raise ValueError(f"version {state['version']!r} is unknown")
        if (found := state.get("network", X)) != network:
            raise ValueError(f"it is of {found!r}, and SOURCE reads {network!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableCheckpoint(f"{type(error).__name__}: {error}") from error
    return dict(state)

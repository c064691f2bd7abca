"""The guard of `_example` in Knative's ConfigMaps (knative.dev/pkg configmap)."""

from __future__ import annotations

import re
import zlib
from typing import Any

from streamops_sandbox.knative.admission import Denied

_ANNOTATION = "knative.dev/example-checksum"
_MESSAGE = (
    'the update modifies a key in "_example" which is probably not what you want.'
    " Instead, copy the respective setting to the top-level of the ConfigMap,"
    ' directly below "data"'
)


def checksum(example: str) -> str:
    r"""Return upstream's checksum: CRC32 of the text with line breaks as a literal `\n`."""
    text = re.sub(r"(\r?\n)+", r"\\n", example.strip())
    return f"{zlib.crc32(text.encode()):08x}"


def check_example(config: dict[str, Any]) -> None:
    """Refuse a ConfigMap whose `_example` no longer fits its checksum annotation.

    Raises:
        Denied: in upstream's words.
    """
    wanted = (config["metadata"].get("annotations") or {}).get(_ANNOTATION)
    example = (config.get("data") or {}).get("_example")
    if wanted is not None and example is not None and checksum(example) != wanted:
        raise Denied(f"validation failed: {_MESSAGE}")

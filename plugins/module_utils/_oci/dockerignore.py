"""`.dockerignore`: the one place that says what of an application folder is not in its image.

Rules: https://docs.docker.com/build/concepts/context/#dockerignore-files. docker, podman and buildah
read the same file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

#: Never part of an image, ignore file or not: version control and what Python leaves behind.
ALWAYS = ("**/.git", "**/__pycache__", "**/*.py[cod]")


class IgnoreRules:
    """Patterns, of which the last one that matches decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            keep = text.startswith("!")
            pattern = posixpath.normpath(text.lstrip("!").strip()).lstrip("/")
            if pattern != ".":
                self._rules.append((re.compile(_regex(pattern)), not keep))
        self._exceptions = not all(verdict for _dummy, verdict in self._rules)
        self._always = [re.compile(_regex(pattern)) for pattern in ALWAYS]

    def prunes(self, folder: str) -> bool:
        """Return whether nothing below a folder can be wanted, so that it need not be looked at."""
        return not self._exceptions and self.ignored(folder)

    def ignored(self, path: str) -> bool:
        """Return whether a path (relative, with `/`), or a folder it is in, is to be left out."""
        parts = path.split("/")
        names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        if any(pattern.fullmatch(name) for pattern in self._always for name in names):
            return True
        ignored = False
        for pattern, verdict in self._rules:
            if verdict != ignored and any(pattern.fullmatch(name) for name in names):
                ignored = verdict
        return ignored


def _regex(pattern: str) -> str:
    """Translate Go's filepath.Match with `**` into a regular expression."""
    result = ""
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            result, position = result + "(?:.*/)?", position + 3
        elif rest.startswith("**"):
            result, position = result + ".*", position + 2
        elif rest[0] == "*":
            result, position = result + "[^/]*", position + 1
        elif rest[0] == "?":
            result, position = result + "[^/]", position + 1
        elif match := re.match(r"\[\^?[^\]]+\]", rest):
            result, position = result + match[0], position + match.end()
        elif rest[0] == "\\" and len(rest) > 1:
            result, position = result + re.escape(rest[1]), position + 2
        else:
            result, position = result + re.escape(rest[0]), position + 1
    return result

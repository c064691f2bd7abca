"""The text of a fragment of HTML."""

from __future__ import annotations

from html.parser import HTMLParser

#: Posts are some kB; what is longer is cut, so that the time to read it is bounded.
LONGEST = 100_000
_BREAKS = {"br", "p", "div", "li", "tr", "h1", "h2", "h3", "blockquote"}
_HIDDEN = {"script", "style"}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in _HIDDEN
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def text_of(html: str) -> str:
    """Return what a reader sees of a fragment, with a line break where a block begins."""
    reader = _Text()
    reader.feed(html[:LONGEST])
    reader.close()
    return "\n".join(line.strip() for line in "".join(reader.parts).splitlines() if line.strip())

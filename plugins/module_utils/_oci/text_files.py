"""Text of files that editors and shells wrote, in the encodings that pip and docker read."""

from __future__ import annotations

import codecs
from pathlib import Path

from .errors import OptionError

#: UTF-32's marks begin with those of UTF-16, so they come first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(content: bytes) -> str:
    """Return the encoding that the byte order mark names; UTF-8 without one."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")


def read_text(path: Path, option: str) -> str:
    """Return the text of a file; raise OptionError naming `option` where it cannot be read."""
    try:
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{option}: {path} is not text in {error.encoding}: save it as UTF-8 ({error.reason} at"
            f" byte {error.start})"
        ) from error
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be read: {error}") from error

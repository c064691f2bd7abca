# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Compiled templates that the workers of a run share.

Ansible compiles each template and each condition anew in every task of every host, and Jinja's own cache of
bytecode is for templates that it loads from files. Here the first worker to compile a text leaves the code to
the others, in memory only: a template may hold a secret.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import marshal
import mmap
import multiprocessing
import struct
from collections.abc import Iterator
from types import CodeType
from typing import Any

import jinja2
from jinja2 import nodes

SIZE = 8 << 20  # bytes; what does not fit is compiled by each worker
WAIT = 0.1  # seconds for the lock, which a killed worker never releases
#: What the code depends on, beside the text and the class of the environment.
_SETTINGS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
    "is_async",
)
_END = struct.Struct("<Q")
_ENTRY = struct.Struct("<32sI")


class SharedCode:
    """Code objects by key, for a process and those it forks; each can add some until the memory is full."""

    def __init__(self, size: int = SIZE) -> None:
        self._memory = mmap.mmap(-1, size)
        self._lock = multiprocessing.get_context("fork").Lock()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._read = _END.size
        _END.pack_into(self._memory, 0, self._read)

    def get(self, key: bytes) -> CodeType | None:
        """Return the code that any of the processes has added, None where there is none."""
        if key not in self._places:
            with self._locked() as locked:
                if locked:
                    self._read_new()
        if key not in self._places:
            return None
        start, end = self._places[key]
        code: CodeType = marshal.loads(self._memory[start:end])  # noqa: S302 - only this run writes it
        return code

    def add(self, key: bytes, code: CodeType) -> None:
        """Give code to the other processes, if there is room."""
        data = marshal.dumps(code)
        with self._locked() as locked:
            if not locked:
                return
            self._read_new()
            start = self._read + _ENTRY.size
            if key in self._places or start + len(data) > len(self._memory):
                return
            _ENTRY.pack_into(self._memory, self._read, key, len(data))
            self._memory[start : start + len(data)] = data
            _END.pack_into(self._memory, 0, start + len(data))
            self._read_new()

    def _read_new(self) -> None:
        (end,) = _END.unpack_from(self._memory)
        while self._read < end:
            key, length = _ENTRY.unpack_from(self._memory, self._read)
            start = self._read + _ENTRY.size
            self._read = start + length
            self._places[key] = (start, self._read)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        locked = self._lock.acquire(timeout=WAIT)
        try:
            yield locked
        finally:
            if locked:
                self._lock.release()


def share_compiled_templates() -> None:
    """Let what Ansible compiles be compiled once for this process and those that it forks from now on."""
    original = jinja2.Environment.compile
    if hasattr(original, "__wrapped__"):
        return
    shared = SharedCode()

    @functools.wraps(original)
    def compile_once(
        environment: jinja2.Environment, source: Any, *args: Any, **options: Any
    ) -> Any:
        if args or options or not type(environment).__module__.startswith("ansible."):
            return original(environment, source, *args, **options)
        if isinstance(source, str) and "\\" in source:
            source = environment.parse(source)  # Ansible reads backslashes in one of two ways
        key = _key(environment, source)
        code = shared.get(key)
        if code is None:
            code = original(environment, source)
            shared.add(key, code)
        return code

    jinja2.Environment.compile = compile_once  # type: ignore[method-assign,assignment]


def _key(environment: jinja2.Environment, source: str | nodes.Template) -> bytes:
    """Return a digest of what the code of a text, or of the nodes of an expression, depends on."""
    text = source if isinstance(source, str) else repr(source)
    settings = [getattr(environment, name) for name in _SETTINGS]
    parts = (
        type(environment).__qualname__,
        isinstance(source, nodes.Template),
        *environment.extensions,
        settings,
    )
    return hashlib.sha256(f"{parts}".encode() + text.encode(errors="surrogatepass")).digest()

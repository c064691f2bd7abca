# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Compiled templates that the workers of a run share.

Ansible compiles each template and each condition anew in every task of every host, and Jinja's own cache of
bytecode is for templates that it loads from files. Here the first worker to compile a text leaves the code to
the others, in memory only: a template may hold a secret. It takes ansible-core 2.19.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import marshal
import mmap
import multiprocessing
import struct
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Lock
from types import CodeType
from typing import Any

import jinja2
from jinja2 import nodes

SIZE = 8 << 20  # bytes; what does not fit is compiled by each worker
WAIT = 0.5  # seconds for a lock, which a killed worker never releases
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
    "is_async",
)
_END = struct.Struct("<Q")
_ENTRY = struct.Struct("<32sI")


class SharedCode:
    """Code objects by key, for a process and those it forks; each can add some until the memory is full."""

    def __init__(self, size: int = SIZE) -> None:
        fork = multiprocessing.get_context("fork")
        self._memory, self._access = mmap.mmap(-1, size), fork.Lock()
        self._making = fork.Lock()
        self._wait = WAIT
        self._places: dict[bytes, tuple[int, int]] = {}
        self._read = _END.size
        _END.pack_into(self._memory, 0, self._read)

    def once(self, key: bytes, make: Callable[[], CodeType]) -> CodeType:
        """Return the code that one of the processes has made; those that need it meanwhile wait."""
        code = self._get(key)
        if code is None:
            with self._locked(self._making):
                code = self._get(key)
                if code is None:
                    code = make()
                    self._add(key, code)
        return code

    def _get(self, key: bytes) -> CodeType | None:
        if key not in self._places:
            with self._locked(self._access) as locked:
                if locked:
                    self._read_new()
        if key not in self._places:
            return None
        start, end = self._places[key]
        code: CodeType = marshal.loads(self._memory[start:end])  # noqa: S302 - only this run writes it
        return code

    def _add(self, key: bytes, code: CodeType) -> None:
        data = marshal.dumps(code)
        with self._locked(self._access) as locked:
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
    def _locked(self, lock: Lock) -> Iterator[bool]:
        """Hold a lock, or give up after a while: the code is only made once more then."""
        locked = lock.acquire(timeout=self._wait)
        try:
            yield locked
        finally:
            if locked:
                lock.release()
            else:
                self._wait = 0.0


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
        ansibles = type(environment).__module__.startswith("ansible.")
        # An optimized one computes constants while it compiles: everybody would get the same `60 | random`.
        if args or options or environment.optimized or not ansibles:
            return original(environment, source, *args, **options)
        if isinstance(source, str) and "\\" in source:
            source = environment.parse(source)  # Ansible reads backslashes in one of two ways
        return shared.once(_key(environment, source), lambda: original(environment, source))

    # Ansible offers no hook for it.
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

"""Templates that the processes of a run compile once."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import jinja2
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.streamops.knative.plugins.plugin_utils import (
    _compiled_templates as compiled,
)

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template
    trust_as_template = str

shared = pytest.mark.skipif(
    not hasattr(Templar, "evaluate_expression"),
    reason="ansible-core 2.18 computes constants while it compiles: each process compiles for itself",
)
FORK = multiprocessing.get_context("fork")


def _forked(work: Callable[[], Any]) -> Any:
    """Return what a forked process returns."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: sender.send(work()))
    process.start()
    result = receiver.recv() if receiver.poll(30) else None
    process.join(30)
    return result


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process of each generation of code by Jinja, with a memory that is shared from now on."""
    calls: list[int] = []
    generate = jinja2.Environment._generate

    def noted(environment: Any, *args: Any, **options: Any) -> Any:
        calls.append(os.getpid())
        return generate(environment, *args, **options)

    unshared = getattr(jinja2.Environment.compile, "__wrapped__", jinja2.Environment.compile)
    monkeypatch.setattr(jinja2.Environment, "_generate", noted)
    monkeypatch.setattr(jinja2.Environment, "compile", unshared)
    compiled.share_compiled_templates()
    return calls


def _render(text: str, **options: Any) -> Any:
    templar = Templar(loader=DataLoader(), variables={"a": "b", "c": ["d"]})
    return templar.template(trust_as_template(text), **options)


@shared
@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ a }}-{{ c | first }}", "b-d"),
        (r"{{ a | regex_replace('(b)', '<\1>') }}", "<b>"),
        ("{% for entry in c %}\n{{ entry }}{% endfor %}\udcff", "d\udcff"),
    ],
)
def test_what_one_process_has_compiled_others_use(
    text: str, rendered: str, generated: list[int]
) -> None:
    def worker() -> tuple[Any, list[int]]:
        generated.clear()
        return _render(text), list(generated)

    assert _forked(worker)[0] == rendered
    result, again = _forked(worker)
    assert (result, again) == (rendered, [])
    assert not generated
    assert _render(text) == rendered
    assert not generated


@shared
def test_an_expression_is_compiled_once(generated: list[int]) -> None:
    for _ in range(2):
        templar = Templar(loader=DataLoader(), variables={"a": "b"})
        assert templar.evaluate_expression(trust_as_template("a == 'b'")) is True
    assert len(generated) == 1


@shared
def test_backslashes_are_read_as_each_caller_asks(generated: list[int]) -> None:
    text = r"{{ 'x\ty' }}"
    for _ in range(2):
        assert _render(text) == r"x\ty"
        assert _render(text, escape_backslashes=False) == "x\ty"
    assert len(generated) == 2


def test_what_is_random_stays_so(generated: list[int]) -> None:
    assert len({_forked(lambda: _render("{{ 1000000000 | random }}")) for _ in range(4)}) > 1


@shared
def test_settings_are_told_apart(generated: list[int]) -> None:
    text = "{% if a %}\n{{ a }}{% endif %}"
    assert _render(text, overrides={"trim_blocks": True}) == "b"
    assert _render(text, overrides={"trim_blocks": False}) == "\nb"
    assert len(generated) == 2


def test_jinja_of_others_is_left_alone(generated: list[int]) -> None:
    for _ in range(2):
        assert jinja2.Environment().from_string("{{ a }}").render(a=1) == "1"
    assert len(generated) == 2


def _code(expression: str) -> CodeType:
    return compile(expression, "<template>", "eval")


def test_who_needs_what_another_process_is_making_waits_for_it() -> None:
    code = compiled.SharedCode()
    begun = FORK.Event()

    def make() -> CodeType:
        begun.set()
        time.sleep(0.1)
        return _code("1 + 1")

    process = FORK.Process(target=lambda: code.once(b"a" * 32, make))
    process.start()
    assert begun.wait(30)
    assert code.once(b"a" * 32, lambda: _code("2 + 2")) == _code("1 + 1")
    process.join(30)


def test_what_does_not_fit_is_made_again() -> None:
    code = compiled.SharedCode(size=200)
    large = _code(f"{'a + ' * 200}a")
    for key, made in ((b"a" * 32, _code("1 + 1")), (b"b" * 32, large)):
        assert code.once(key, lambda made=made: made) == made
    assert code.once(b"a" * 32, lambda: large) == _code("1 + 1")
    assert code.once(b"b" * 32, lambda: _code("2 + 2")) == _code("2 + 2")


@pytest.mark.parametrize("lock", ["_access", "_making"])
def test_a_process_that_was_killed_with_a_lock_stops_nobody(
    lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "WAIT", 0.01)
    code = compiled.SharedCode()
    code.once(b"a" * 32, lambda: _code("1 + 1"))
    _forked(getattr(code, lock).acquire)
    assert code.once(b"b" * 32, lambda: _code("2 + 2")) == _code("2 + 2")
    assert code.once(b"a" * 32, lambda: _code("2 + 2")) == _code("1 + 1")

"""YAML and JSON are read as Kubernetes reads them; the values were printed by kubectl 1.32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from support.growth import is_linear

from ansible_collections.streamops.knative.plugins.module_utils._yaml import (
    InvalidYaml,
    decode,
    documents,
)


def value(text: str) -> Any:
    ((_line, document),) = documents(text)
    return document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y", True), ("N", False), ("Yes", True), ("on", True), ("OFF", False), ("tRue", "tRue"),
        ("~", None), ("Null", None), ("", None),
        ("12:30", "12:30"), ("1022:22", "1022:22"), ("190:20:30", "190:20:30"),
        ("0o400", 256), ("0400", 256), ("0O17", 15), ("00", 0), ("08", 8), ("09.5", 9.5),
        ("1_000", 1000), ("1__0", 10), ("0_7", 7), ("_1", "_1"), ("1_0.5", 10.5), (".1_0", 0.1),
        ("0x1F", 31), ("0X1f", 31), ("0b101", 5), ("-0b101", -5), ("0x", "0x"),
        ("+12", 12), ("-0", 0), ("-0.0", 0), ("1e3", 1000), ("1E3", 1000), ("1.5e3", 1500),
        ("1.", 1), (".5", 0.5), ("-.5", -0.5), ("+.5", 0.5), ("1.10", 1.1), ("1.0", 1),
        ("1e-7", 1e-7), ("1e21", 1e21), ("1e400", "1e400"),
        ("12345678901234567890", 1.2345678901234567e19),
        ("2001-01-01", "2001-01-01"), ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("'12'", "12"), ("!!str 12", "12"), ('!!int "12"', 12), ("!!float 1", 1), ("!!bool yes", True),
        ("!!binary aGVs bG8=", "hello"), ("!!set {a, b}", {"a": None, "b": None}), ("!foo 12", "12"),
        ("! 12", "12"), ("!!timestamp 2001-01-01", "2001-01-01"), ("=", "="), ("1,000", "1,000"),
        ("{1: a, true: b, 1.5: c, 010: d}", {"1": "a", "true": "b", "1.5": "c", "8": "d"}),
        ("{a: c, <<: {a: b}}", {"a": "b"}), ("{<<: {a: b}, a: c}", {"a": "c"}),
        ("{<<: [{a: b}, {a: c, d: e}]}", {"a": "b", "d": "e"}), ('{"<<": 1}', {"<<": 1}),
        ("[&x a, *x, &x b, *x]", ["a", "a", "b", "b"]),
        ("[1, {a: y}]", [1, {"a": True}]),
    ],
)  # fmt: skip
def test_values(text: str, expected: Any) -> None:
    read = value(f"value: {text}")["value"]
    assert read == expected
    assert type(read) is type(expected)


def test_json_is_read_by_a_json_reader() -> None:
    assert value('{"a": "\\ud83d\\ude80", "b": [1.0, 1e3, 0.5]}') == {
        "a": "\U0001f680",
        "b": [1, 1000, 0.5],
    }
    assert list(documents('{"a": 1}\n{"b": 2}')) == [(1, {"a": 1}), (2, {"b": 2})]
    assert value("{a: b, c: [d,]}") == {"a": "b", "c": ["d"]}


def test_json_is_read_by_a_json_reader_wherever_a_document_of_it_is() -> None:
    key = "k" * 2000  # YAML bounds the keys of flow mappings
    text = f'a: 12:30\n---\n{{"b": "\\/\x7f", "{key}": 1.0}}\n---\n\nc: d\n---\n{{e: f}}\n--- {{"g": 1}} # h\n'
    assert list(documents(text)) == [
        (1, {"a": "12:30"}),
        (3, {"b": "/\x7f", key: 1}),
        (6, {"c": "d"}),
        (8, {"e": "f"}),
        (9, {"g": 1}),
    ]
    assert list(documents('{"a": 1}\n---\n{"b": 2}\n')) == [(1, {"a": 1}), (3, {"b": 2})]


@pytest.mark.parametrize("broken", ["c: [", '{"c": 1,}}', "{c: d, c: e}", "c: d\nc: d"])
def test_lines_are_counted_from_the_first_of_the_file(broken: str) -> None:
    with pytest.raises(InvalidYaml, match=r"^:[567]: "):
        list(documents(f'a: b\n---\n{{"b": 1}}\n---\n{broken}\n'))


def test_json_escapes_are_read_inside_of_yaml() -> None:
    text = """topics: ["\\ud83d\\ude80 launch"]\nother: '\\ud83d'\n"""
    assert value(text) == {"topics": ["\U0001f680 launch"], "other": "\\ud83d"}
    assert value("plain: \\ud83d\\ude80\n") == {"plain": "\\ud83d\\ude80"}


def test_documents_without_content_are_left_out() -> None:
    assert list(documents("# nothing\n---\n---\na: b\n---\n# nothing\n")) == [(4, {"a": "b"})]
    assert list(documents("\ufeffa: b\n---\n\ufeffc: d\n")) == [(1, {"a": "b"}), (3, {"c": "d"})]
    assert not list(documents(""))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: .nan", ":1: nan is not a value that Kubernetes takes"),
        ("a: -.inf", ":1: -inf is not a value"),
        ('{"a": NaN}', ":1: NaN is not a value"),
        ("a: &a\n  b: *a", ":2: the anchor 'a' contains itself"),
        ("a: *b", "the anchor 'b' is not defined"),
        ("a: b\n~: c", ":2: null cannot be a key"),
        ("? [a]\n: b", ":1: a list cannot be a key"),
        ("a: b\na: c", ":2: the key 'a' is given twice"),
        ('{"a": 1, "a": 2}', ":1: the key 'a' is given twice"),
        ('{"a": 1,\n"b" 2}', ":2: not valid JSON: Expecting ':' delimiter"),
        ("a: !!binary '###'", "!!binary is not base64 of a text"),
        ("a: !!binary /w==", "!!binary is not base64 of a text"),
        ("a: !!int 1.5", "'1.5' is not a valid !!int"),
        ("a: !!null x", "'x' is not a valid !!null"),
        ("a: !vault |\n  x", "encrypted with Ansible Vault"),
        ("<<: 1", "<< takes a mapping"),
        ("a: [", "not valid YAML"),
        ("a: b\nc: \x07", ":2: not valid YAML: the character U+0007; is the file saved as UTF-8?"),
        ("a: \x00b\x00\n", ":1: not valid YAML: the character U+0000; is the file saved as UTF-8?"),
    ],
)
def test_what_is_wrong_is_a_sentence_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InvalidYaml) as caught:
        list(documents(text))
    assert problem in str(caught.value)


def test_input_is_bounded_in_depth_and_in_what_aliases_expand_to() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    for text in ("[" * 100_000, '{"a":' * 100_000, "- " * 1000, laughs):
        with pytest.raises(InvalidYaml, match=r"deep|aliases repeat"):
            list(documents(text))


@pytest.mark.parametrize(
    "part",
    [
        "a: b\n---\n",
        '{"a": 1}\n---\n',
        '{"a": 1}\n',
        "{a: b}\n---\n",
        "- \\ud83d\\ude80\n",
        "- 1_0\n",
        "- 2001-12-14t21:59:43.10-05:00\n",
        "#\n",
        " ",
        "- &a 1\n- *a\n",
        "\ufeff\n",
        "- '{{'\n",
    ],
)
def test_time_grows_with_the_size(part: str) -> None:
    def make(size: int) -> Callable[[], object]:
        text = part * (size // len(part))
        return lambda: list(documents(text))

    assert is_linear(make, 20_000)


@pytest.mark.parametrize(
    ("start", "part"),
    [
        ("", "["), ("", '{"a":'), ('"', "\\"), ("a: ", "0"), ("a: 1", "0"), ("a: ", "1_"), ("a: 0x", "f"),
        ("a: 1.", "0"), ("a: ", "<"), ('{"a": ', "9"), ("a: [", "{{"), ("a: ", "!!"), ("[", "*a, "),
        ("a: ", "\t"), ('{"a": 1}', "\n"), ("--- ", "\n"), ("", "---\n"),
    ],
)  # fmt: skip
def test_time_to_refuse_grows_with_the_size(start: str, part: str) -> None:
    def make(size: int) -> Callable[[], object]:
        text = start + part * (size // len(part))

        def read() -> None:
            with contextlib.suppress(InvalidYaml):
                list(documents(text))

        return read

    assert is_linear(make, 50_000)


def test_files_are_decoded_by_their_byte_order_mark() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert decode("a: ä".encode(encoding)) == "a: ä"
    with pytest.raises(InvalidYaml, match=":2: not valid UTF-8"):
        decode("a: b\nc: ä".encode("latin-1"))

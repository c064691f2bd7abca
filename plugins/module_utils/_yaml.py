"""YAML and JSON as Kubernetes reads them (sigs.k8s.io/yaml: YAML 1.1 without base 60, timestamps and `=`).

Values come out as JSON has them: keys are texts, integers outside 64 bits are floats, floats that are
whole numbers are integers. Reads from outside are bounded in depth and in what aliases expand to.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from ._module.errors import TaskError

try:
    import yaml
except ImportError:  # `_require` reports it
    yaml = None  # type: ignore[assignment]  # stands for the missing library

DEPTH = 200  # levels of nesting
EXPANDED = 200_000  # nodes that aliases may repeat
_TAG = "tag:yaml.org,2002:"
_MERGE = object()
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False
    ),
    "<<": _MERGE,
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]*|0[bB][01]+|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_MARK = re.compile(r"^---(?=\s)", re.MULTILINE)
_JSON = re.compile(r"(---)?\s*[{[]")  # how a document of JSON begins, and YAML in flow style
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KINDS = {bool: "a boolean", int: "a number", float: "a number", dict: "a mapping", list: "a list"}
_TYPES = {"int": int, "float": float, "bool": bool}

Duplicate = Callable[[str], None]


class InvalidYaml(TaskError):
    """A text is not valid; the message is ":line: what is wrong", to follow the name of the text."""


def decode(data: bytes) -> str:
    """Return a file's text: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""
    mark, encoding = next((entry for entry in _BOMS if data.startswith(entry[0])), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidYaml(
            f":{line}: not valid {encoding.upper()}: save the file as UTF-8"
        ) from error


def documents(text: str, on_duplicate: Duplicate | None = None) -> Iterator[tuple[int, Any]]:
    """Return (line, document) of each document in a text of YAML, or of JSON documents in a row.

    Empty documents are left out. A key that is given twice is invalid or, with `on_duplicate`, reported
    to it (as ":line: …"), and the last one counts. Raises InvalidYaml.
    """
    text = re.sub(r"^\ufeff", "", text, flags=re.MULTILINE)  # where files were joined
    line = 1
    for part in _parts(text):
        yield from _read(part, line, on_duplicate)
        line += part.count("\n")


def _parts(text: str) -> Iterator[str]:
    """Split at the document markers before and after what begins as JSON does, so that it is read as JSON."""
    marks = [match.start() for match in _MARK.finditer(text)]
    pending = 0
    for start, end in zip([0, *marks], [*marks, len(text)], strict=True):
        if _JSON.match(text, start, end):
            if pending < start:
                yield text[pending:start]
            yield text[start:end]
            pending = end
    if pending < len(text):
        yield text[pending:]


def _read(text: str, first: int, on_duplicate: Duplicate | None) -> Iterator[tuple[int, Any]]:
    """Return the documents of a text whose first line has the number `first`."""
    if start := _JSON.match(text):
        try:
            yield from list(_json_documents(text, start.end() - 1, first, on_duplicate))
        except ValueError as error:
            # Else it may be YAML in flow style, or JSON with a comment, in a stream of YAML.
            is_json = not start[1] and re.match(r'\[?\s*\{\s*"', text[start.end() - 1 :])
            if is_json and isinstance(error, json.JSONDecodeError):
                line = first - 1 + error.lineno
                raise InvalidYaml(f":{line}: not valid JSON: {error.msg}") from error
        else:
            return
    _require()
    if _PAIR.search(text):
        # JSON inside of YAML, as to_json writes it in templates: YAML has no pairs of escapes.
        try:
            found = list(_Builder(text, first, on_duplicate).documents())
        except InvalidYaml:
            text = _PAIR.sub(lambda pair: json.loads(f'"{pair[0]}"'), text)
        else:
            yield from found
            return
    yield from _Builder(text, first, on_duplicate).documents()


def dump(value: Any) -> str:
    """Return block style YAML with sorted keys."""
    _require()
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, default_flow_style=False, sort_keys=True)
    return text


def type_name(value: Any) -> str:
    """Return what a value is, for messages."""
    return "null" if value is None else _KINDS.get(type(value), "a text")


def _require() -> None:
    if yaml is None:
        raise TaskError("PyYAML is missing on this host: pip install PyYAML")


# -- JSON ----------------------------------------------------------------------------------------


def _json_documents(
    text: str, position: int, first: int, on_duplicate: Duplicate | None
) -> Iterator[tuple[int, Any]]:
    line = first

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(entries)
        if len(found) < len(entries):
            names = [name for name, _value in entries]
            twice = next(name for name in found if names.count(name) > 1)
            _duplicate(line, twice, on_duplicate)
        return found

    def constant(name: str) -> Any:
        raise InvalidYaml(f":{line}: {name} is not a value that Kubernetes takes")

    decoder = json.JSONDecoder(
        object_pairs_hook=pairs,
        parse_float=lambda digits: _number(float(digits), line),
        parse_int=lambda digits: _integer(int(digits)) if len(digits) < 400 else constant(digits),
        parse_constant=constant,
    )
    counted = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        line += text.count("\n", counted, position)
        counted = position
        try:
            value, position = decoder.raw_decode(text, position)
        except RecursionError:
            raise InvalidYaml(f":{line}: nested too deeply") from None
        yield line, value


def _integer(value: int) -> int | float:
    return value if -(1 << 63) <= value < 1 << 63 else float(value)


def _number(value: float, line: int) -> int | float:
    if not math.isfinite(value):
        raise InvalidYaml(f":{line}: {value} is not a value that Kubernetes takes")
    return int(value) if value.is_integer() and abs(value) < 1 << 63 else value


def _duplicate(line: int, key: str, on_duplicate: Duplicate | None) -> None:
    message = f":{line}: the key '{key}' is given twice"
    if on_duplicate is None:
        raise InvalidYaml(message)
    on_duplicate(message)


# -- YAML ----------------------------------------------------------------------------------------


class _Builder:
    """Builds values from the parser's events, since PyYAML's composer refuses what YAML allows."""

    def __init__(self, text: str, first: int, on_duplicate: Duplicate | None) -> None:
        # libyaml, where PyYAML was built with it, is ten times as fast.
        self._parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._text = text
        self._lines = text.splitlines()
        self._first = first  # number of the first line
        self._on_duplicate = on_duplicate
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open: set[str] = set()
        self._nodes = self._expanded = 0

    def documents(self) -> Iterator[tuple[int, Any]]:
        """Return (line, document) of each document that is not empty."""
        try:
            while not isinstance(event := self._parser.get_event(), yaml.StreamEndEvent):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors.clear()
                    root = self._parser.get_event()
                    value = self._value(root, 0)
                    if value is not None:
                        yield root.start_mark.line + self._first, value
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + self._first if mark else self._first
            raise self._invalid(
                line, f"not valid YAML: {error.problem or error.context}"
            ) from error
        except yaml.reader.ReaderError as error:
            # Its position is in bytes or in characters, by the parser.
            line = self._first + self._text.partition(chr(error.character))[0].count("\n")
            raise InvalidYaml(
                f":{line}: not valid YAML: the character U+{error.character:04X}; is the file saved as UTF-8?"
            ) from error
        except yaml.YAMLError as error:
            raise InvalidYaml(f": not valid YAML: {error}") from error
        finally:
            self._parser.dispose()

    def _invalid(self, line: int, message: str) -> InvalidYaml:
        index = line - self._first
        around = "".join(self._lines[max(index - 1, 0) : index + 1])
        if "{{" in around or "{%" in around:
            message += ". Is it a template? Then it has to be rendered (option templates)"
        return InvalidYaml(f":{line}: {message}")

    def _value(self, event: Any, depth: int) -> Any:
        self._nodes += 1
        line = event.start_mark.line + self._first
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > DEPTH:
            raise self._invalid(line, f"nested more than {DEPTH} levels deep")
        if event.anchor:
            self._open.add(event.anchor)
        before = self._nodes
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := self._parser.get_event(), yaml.SequenceEndEvent):
                value.append(self._plain(self._value(item, depth + 1)))
        else:
            value = self._mapping(depth)
        if event.anchor:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _alias(self, anchor: str, line: int) -> Any:
        if anchor in self._open:
            raise self._invalid(line, f"the anchor '{anchor}' contains itself")
        if anchor not in self._anchors:
            raise self._invalid(line, f"the anchor '{anchor}' is not defined")
        value, size = self._anchors[anchor]
        self._nodes += size
        self._expanded += size
        if self._expanded > EXPANDED:
            raise self._invalid(line, f"aliases repeat more than {EXPANDED} values")
        return _copy(value)

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        given: set[str] = set()
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            line = event.start_mark.line + self._first
            key = self._value(event, depth + 1)
            value = self._plain(self._value(self._parser.get_event(), depth + 1))
            if key is _MERGE:
                self._merge(found, value, line)
                continue
            name = self._key(key, line)
            if name in given:
                try:
                    _duplicate(line, name, self._on_duplicate)
                except InvalidYaml as error:
                    raise self._invalid(line, str(error).partition(": ")[2]) from None
            given.add(name)
            found[name] = value
        return found

    def _merge(self, into: dict[str, Any], value: Any, line: int) -> None:
        merged = list(reversed(value)) if isinstance(value, list) else [value]
        if not all(isinstance(entry, dict) for entry in merged):
            raise self._invalid(line, "<< takes a mapping or a list of mappings")
        for entry in merged:
            into.update(entry)

    def _key(self, key: Any, line: int) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int | float):
            return str(key)
        raise self._invalid(line, f"{type_name(key)} cannot be a key")

    @staticmethod
    def _plain(value: Any) -> Any:
        return "<<" if value is _MERGE else value

    def _scalar(self, event: Any, line: int) -> Any:
        text: str = event.value
        tag = (event.tag or "").removeprefix(_TAG)
        if tag == "!vault":
            raise self._invalid(line, "a value encrypted with Ansible Vault: give it to templates")
        if tag == "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise self._invalid(line, "!!binary is not base64 of a text") from error
        if not tag and not event.implicit[0]:
            return text  # quoted
        if tag and tag not in ("null", "merge", *_TYPES):
            return text
        value = self._resolved(text, line)
        if tag == "float" and isinstance(value, int) and not isinstance(value, bool):
            return value
        wanted = _TYPES.get(tag)
        # bool is a subclass of int
        is_wanted = not wanted or (
            isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
        )
        if not is_wanted or (tag == "null" and value is not None):
            raise self._invalid(line, f"'{text}' is not a valid !!{tag}")
        return value

    def _resolved(self, text: str, line: int) -> Any:
        """Return the value of a plain scalar (go-yaml v2, resolve.go)."""
        if text in _WORDS:
            value = _WORDS[text]
            return _number(value, line) if isinstance(value, float) else value
        if text[0] not in "+-.0123456789":
            return text
        plain = text.replace("_", "")
        if text[0] != "." and _INTEGER.fullmatch(plain):
            number = _parse_integer(plain)
            if -(1 << 63) <= number < 1 << 64:
                return _integer(number)
        if _FLOAT.fullmatch(plain):
            value = float(plain)
            return _number(value, line) if math.isfinite(value) else text
        return text


def _parse_integer(text: str) -> int:
    """Return an integer as Go reads it with base 0: 0400 is octal, too."""
    digits = text.lstrip("+-")
    octal = digits.startswith("0") and digits[1:].isdigit()
    number = int(digits, 8 if octal else 0) if len(digits) < 400 else 1 << 64
    return -number if text.startswith("-") else number


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_copy(entry) for entry in value]
    return value

"""CloudEvents SQL (cloudevents/spec `cesql/spec.md`, version 1.0) for Trigger filters.

An expression is compiled to a function of an event's attributes. As in a Trigger, an expression
that fails on an event (a missing attribute, text that is no number) does not match it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Value = str | int | bool
Node = Callable[[Mapping[str, str]], Value]


class ParseError(ValueError):
    """A text that is no CESQL expression; the message says where."""


class _EvaluationError(Exception):
    """An expression that has no value for this event."""


_TOKEN = re.compile(
    r"\s*(?:(?P<int>\d+)|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|!=|<>|[-+*/%=<>(),]))"
)
_COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")
_LOGIC = ("AND", "OR", "XOR")
_KEYWORDS = (*_LOGIC, "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE")


def compile_expression(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Return the filter of an expression.

    Raises:
        ParseError: the text is no expression.
    """
    parser = _Parser(text)
    node = parser.expression()
    parser.end()

    def matches(event: Mapping[str, str]) -> bool:
        try:
            return _as_bool(node(event))
        except _EvaluationError:
            return False

    return matches


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent, a method for each level of precedence, loosest first."""

    def __init__(self, text: str) -> None:
        self._tokens: list[_Token] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise ParseError(f"unexpected {text[position:].strip()[:1]!r} at {position}")
            kind = str(found.lastgroup)
            self._tokens.append(_Token(kind, found[kind], found.start(kind)))
            position = found.end()
        self._tokens.append(_Token("end", "end of expression", len(text)))
        self._next = 0

    def end(self) -> None:
        """Check that nothing is left."""
        if self._peek().kind != "end":
            self._fail()

    def expression(self) -> Node:
        """`a AND b OR c …`, from left to right."""
        left = self._comparison()
        while operator := self._take(*_LOGIC):
            left = _logic(operator, left, self._comparison())
        return left

    def _comparison(self) -> Node:
        left = self._sum()
        while operator := self._take(*_COMPARISONS):
            left = _comparison(operator, left, self._sum())
        return left

    def _sum(self) -> Node:
        left = self._product()
        while operator := self._take("+", "-"):
            left = _arithmetic(operator, left, self._product())
        return left

    def _product(self) -> Node:
        left = self._membership()
        while operator := self._take("*", "/", "%"):
            left = _arithmetic(operator, left, self._membership())
        return left

    def _membership(self) -> Node:
        left = self._unary()
        while True:
            negated = self._peek(1).text.upper() in ("LIKE", "IN") and bool(self._take("NOT"))
            if self._take("LIKE"):
                left = _like(left, self._pattern(), negated=negated)
            elif self._take("IN"):
                left = _in(left, self._list(), negated=negated)
            else:
                return left

    def _unary(self) -> Node:
        if self._take("NOT"):
            inner = self._unary()
            return lambda event: not _as_bool(inner(event))
        if self._take("-"):
            number = self._unary()
            return lambda event: -_as_int(number(event))
        if self._take("EXISTS"):
            name = self._name()
            return lambda event: name in event
        return self._atom()

    def _atom(self) -> Node:
        if self._take("("):
            inner = self.expression()
            self._expect(")")
            return inner
        token = self._peek()
        self._next += 1
        word = token.text.upper()
        if token.kind == "int":
            number = int(token.text)
            return lambda _: number
        if token.kind == "text":
            text = _unquote(token.text)
            return lambda _: text
        if token.kind == "word" and word in ("TRUE", "FALSE"):
            return lambda _: word == "TRUE"
        if token.kind == "word" and self._peek().text == "(":
            return _function(word, self._list(empty=True), token)
        if token.kind == "word" and word not in _KEYWORDS:
            name = token.text.lower()
            return lambda event: _attribute(event, name)
        self._next -= 1
        return self._fail()

    def _list(self, *, empty: bool = False) -> list[Node]:
        self._expect("(")
        if empty and self._take(")"):
            return []
        items = [self.expression()]
        while self._take(","):
            items.append(self.expression())
        self._expect(")")
        return items

    def _pattern(self) -> str:
        token = self._peek()
        if token.kind != "text":
            self._fail()
        self._next += 1
        return token.text[1:-1]

    def _name(self) -> str:
        token = self._peek()
        if token.kind != "word":
            self._fail()
        self._next += 1
        return token.text.lower()

    def _peek(self, ahead: int = 0) -> _Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        text = token.text.upper()
        if token.kind in ("word", "sign") and text in wanted:
            self._next += 1
            return text
        return ""

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            self._fail()

    def _fail(self) -> Node:
        token = self._peek()
        raise ParseError(f"unexpected {token.text!r} at {token.position}")


def _attribute(event: Mapping[str, str], name: str) -> str:
    if name not in event:
        raise _EvaluationError(f"missing attribute {name}")
    return event[name]


def _logic(operator: str, left: Node, right: Node) -> Node:
    if operator == "AND":
        return lambda event: _as_bool(left(event)) and _as_bool(right(event))
    if operator == "OR":
        return lambda event: _as_bool(left(event)) or _as_bool(right(event))
    return lambda event: _as_bool(left(event)) != _as_bool(right(event))


def _comparison(operator: str, left: Node, right: Node) -> Node:
    if operator == "=":
        return lambda event: _equal(left(event), right(event))
    if operator in ("!=", "<>"):
        return lambda event: not _equal(left(event), right(event))
    order: dict[str, Callable[[int, int], bool]] = {
        "<": int.__lt__,
        "<=": int.__le__,
        ">": int.__gt__,
        ">=": int.__ge__,
    }
    compare = order[operator]
    return lambda event: compare(_as_int(left(event)), _as_int(right(event)))


def _arithmetic(operator: str, left: Node, right: Node) -> Node:
    def value(event: Mapping[str, str]) -> int:
        first, second = _as_int(left(event)), _as_int(right(event))
        if operator in ("/", "%") and second == 0:
            raise _EvaluationError("division by zero")
        if operator == "/":
            return int(first / second)  # towards zero
        if operator == "%":
            return first - int(first / second) * second
        return {"+": first + second, "-": first - second, "*": first * second}[operator]

    return value


def _like(left: Node, pattern: str, *, negated: bool) -> Node:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    regex = re.compile("".join(wild.get(p) or re.escape(p[-1]) for p in parts), re.DOTALL)
    return lambda event: (regex.fullmatch(_as_text(left(event))) is not None) != negated


def _in(left: Node, items: list[Node], *, negated: bool) -> Node:
    return lambda event: any(_equal(left(event), item(event)) for item in items) != negated


def _function(name: str, arguments: list[Node], token: _Token) -> Node:
    known = _FUNCTIONS.get(name)
    if known is None:
        raise ParseError(f"unknown function {token.text} at {token.position}")
    counts, function = known
    if len(arguments) not in counts:
        raise ParseError(f"{name} with {len(arguments)} arguments at {token.position}")
    return lambda event: function(*(argument(event) for argument in arguments))


def _part(text: Value, start: Value, length: Value | None = None) -> str:
    """Return a part of a text; positions count from 1, negative ones from the end."""
    whole, begin = _as_text(text), _as_int(start)
    if abs(begin) > len(whole):
        raise _EvaluationError("position out of range")
    if begin == 0:
        return ""
    begin = begin - 1 if begin > 0 else len(whole) + begin
    return whole[begin:] if length is None else whole[begin : begin + _as_int(length)]


def _castable(cast: Callable[[Value], Value], value: Value) -> bool:
    try:
        cast(value)
    except _EvaluationError:
        return False
    return True


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _as_int(value: Value) -> int:
    try:
        return int(value)
    except ValueError:
        raise _EvaluationError(f"{value!r} is not an integer") from None


def _as_bool(value: Value) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise _EvaluationError(f"{value!r} is not a boolean")
        return value.lower() == "true"
    return bool(value)


def _equal(left: Value, right: Value) -> bool:
    if type(left) is type(right):
        return left == right
    for cast, kind in ((_as_bool, bool), (_as_int, int)):
        if isinstance(left, kind) or isinstance(right, kind):
            return cast(left) == cast(right)
    return False


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


_MANY = range(100)
_FUNCTIONS: dict[str, tuple[range, Callable[..., Value]]] = {
    "ABS": (range(1, 2), lambda v: abs(_as_int(v))),
    "BOOL": (range(1, 2), _as_bool),
    "CONCAT": (_MANY, lambda *vs: "".join(map(_as_text, vs))),
    "CONCAT_WS": (range(1, 100), lambda by, *vs: _as_text(by).join(map(_as_text, vs))),
    "INT": (range(1, 2), _as_int),
    "IS_BOOL": (range(1, 2), lambda v: _castable(_as_bool, v)),
    "IS_INT": (range(1, 2), lambda v: _castable(_as_int, v)),
    "LEFT": (range(2, 3), lambda v, n: _as_text(v)[: _as_int(n)]),
    "LENGTH": (range(1, 2), lambda v: len(_as_text(v))),
    "LOWER": (range(1, 2), lambda v: _as_text(v).lower()),
    "RIGHT": (range(2, 3), lambda v, n: _as_text(v)[-_as_int(n) :] if _as_int(n) else ""),
    "STRING": (range(1, 2), _as_text),
    "SUBSTRING": (range(2, 4), _part),
    "TRIM": (range(1, 2), lambda v: _as_text(v).strip()),
    "UPPER": (range(1, 2), lambda v: _as_text(v).upper()),
}

"""Name queries of pods, and static executables in place of images."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from real.executables import Executables
from real.name_server import answer, parse


def query(name: str, kind: int = 1, flags: int = 0x0100, count: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    header = struct.pack(">6H", 7, flags, count, 0, 0, 1)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)  # as Go's resolver sends
    return header + labels + b"\0" + struct.pack(">2H", kind, 1) + opt


def test_a_name_is_answered_with_its_addresses() -> None:
    asked = query("Sink.test.svc.cluster.local")
    question = parse(asked)
    assert question.name == "sink.test.svc.cluster.local"
    answered = answer(asked, question, ["10.64.64.1", "10.64.64.2"])
    identifier, flags, questions, answers = struct.unpack_from(">4H", answered)
    assert (identifier, flags & 0x8000, flags & 0xF, questions, answers) == (7, 0x8000, 0, 1, 2)
    assert answered.endswith(bytes([10, 64, 64, 2]))


@pytest.mark.parametrize(
    ("kind", "addresses", "code"), [(28, ["10.0.0.1"], 0), (1, [], 3)], ids=["AAAA", "no name"]
)
def test_what_there_is_no_address_for_has_no_answer(
    kind: int, addresses: list[str], code: int
) -> None:
    asked = query("sink.test.svc", kind)
    _, flags, _, answers = struct.unpack_from(">4H", answer(asked, parse(asked), addresses))
    assert (flags & 0xF, answers) == (code, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        query("a.b", flags=0x8100),
        query("a.b", count=2),
        struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + bytes(4),
        struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + b"\x3fshort",
    ],
    ids=["empty", "short", "an answer", "two questions", "compressed", "cut off"],
)
def test_what_is_not_a_query_is_dropped(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError, struct.error)):
        parse(data)


def test_an_executable_is_found_by_the_path_of_its_image(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "knative.dev" / "serving" / "cmd" / "queue"
    program.parent.mkdir(parents=True)
    program.touch()
    images = Executables(tmp_path / "images", tmp_path / "bin")
    release = "gcr.io/knative-releases/knative.dev/serving/cmd/"
    assert not images.is_program(f"{release}queue:v1.23.0")
    assert not images.is_program(
        f"mirror.example:5000/a/knative.dev/serving/cmd/queue@sha256:{'0' * 64}"
    )
    assert images.is_program(f"{release}webhook:v1.23.0"), "the stand-in takes its place"
    assert not images.is_program(f"{release}../cmd/queue")

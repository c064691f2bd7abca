"""Dependencies are chosen for the image's Python and platform, not for the controller's."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import (
    OptionError,
    WheelError,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.platform import Platform
from ansible_collections.streamops.knative.plugins.module_utils._oci.requirements import (
    read_requirements,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.wheels import (
    Target,
    Wheel,
    fetch_wheels,
    wheel_entries,
)


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    needs: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    files: dict[str, str] | None = None,
) -> None:
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {one}\n" for one in needs)
    extras = "Provides-Extra: fast\n"
    content = {
        f"{name}.py": f"# {name}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(files or {}),
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in content))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all pip knows."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {folder}\n")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    return folder


def target(python: str = "3.13.1", platform: str = "linux/amd64") -> Target:
    chosen = Platform.parse(platform)
    return Target(python, tuple(chosen.wheel_tags()), chosen.markers(python))


def fetch(tmp_path: Path, text: str, where: Target, constraints: str = "") -> list[str]:
    (tmp_path / "r.txt").write_text(text)
    (tmp_path / "c.txt").write_text(constraints)
    lines = read_requirements([tmp_path / "r.txt"], "requirements", where.markers)
    limits = read_requirements([tmp_path / "c.txt"], "constraints", where.markers)
    folder = tmp_path / "downloaded"
    folder.mkdir(exist_ok=True)
    return [wheel.pin for wheel in fetch_wheels(lines, limits, where, folder, 60)]


def test_markers_are_those_of_the_image(index: Path, tmp_path: Path) -> None:
    needs = (
        "old; python_version < '3.12'",
        "new; python_version >= '3.13'",
        "arm; platform_machine == 'aarch64'",
        "windows; sys_platform == 'win32'",
        "speed; extra == 'fast'",
    )
    make_wheel(index, "app", needs=needs)
    for name in ("old", "new", "arm", "windows", "speed"):
        make_wheel(index, name)
    assert fetch(tmp_path, "app", target("3.11.4")) == ["app==1.0", "old==1.0"]
    assert fetch(tmp_path, "app", target("3.13.1")) == ["app==1.0", "new==1.0"]
    assert fetch(tmp_path, "app[fast]", target("3.12.0")) == ["app==1.0", "speed==1.0"]
    arm = fetch(tmp_path, "app", target("3.12.0", "linux/arm64"))
    assert arm == ["app==1.0", "arm==1.0"]


def test_lines_with_markers_are_filtered_for_the_image(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "new")
    make_wheel(index, "both")
    text = "both\nnew; python_version >= '3.13'\nmissing; python_version < '3.12'\n"
    assert fetch(tmp_path, text, target("3.13.0")) == ["both==1.0", "new==1.0"]


def test_wheels_are_for_the_platform_and_python(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "fast", tag="cp313-cp313-manylinux_2_28_x86_64")
    make_wheel(index, "fast", "2.0", tag="cp313-cp313-manylinux_2_34_x86_64")
    assert fetch(tmp_path, "fast", target()) == ["fast==1.0"]
    for where in (target("3.12.0"), target(platform="linux/arm64")):
        with pytest.raises(WheelError, match=r"no wheel of fast for Python .* on manylinux"):
            fetch(tmp_path, "fast", where)


def test_constraints_and_hashes_are_honoured(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "dep", "1.0")
    make_wheel(index, "dep", "2.0")
    assert fetch(tmp_path, "dep", target(), "dep<2") == ["dep==1.0"]
    with pytest.raises(WheelError, match="HASH"):
        fetch(tmp_path, f"dep==1.0 --hash=sha256:{'0' * 64}", target())


def test_constraints_with_hashes_hold_for_what_is_brought_along(
    index: Path, tmp_path: Path
) -> None:
    make_wheel(index, "app", needs=("dep", "gone; python_version < '3'"))
    for name in ("dep", "other"):
        make_wheel(index, name)

    def locked(**hashes: str) -> str:
        found = {
            file.name.partition("-")[0]: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in index.iterdir()
        }
        lines = {**found, **hashes}.items()
        return "".join(f"{name}==1.0 \\\n    --hash=sha256:{digest}\n" for name, digest in lines)

    assert fetch(tmp_path, "app==1.0", target(), locked()) == ["app==1.0", "dep==1.0"]
    for name in ("app", "dep"):
        with pytest.raises(WheelError, match="HASH"):
            fetch(tmp_path, "app==1.0", target(), locked(**{name: "0" * 64}))


def test_missing_package_is_named(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "app", needs=("nowhere>=1",))
    with pytest.raises(WheelError, match="no wheel of nowhere"):
        fetch(tmp_path, "app", target())


def test_conflict_is_told_in_pips_words(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "a", needs=("dep==1.0",))
    make_wheel(index, "b", needs=("dep==2.0",))
    make_wheel(index, "dep", "1.0")
    make_wheel(index, "dep", "2.0")
    with pytest.raises(
        WheelError, match=r"conflict for .*a 1.0 depends on dep==1.0; b 1.0 depends on dep==2.0"
    ):
        fetch(tmp_path, "a\nb", target())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-e .", "-e ."),
        ("--index-url https://x", "pip's own"),
        ("./local", "./local"),
        ("flask = 3", "flask = 3"),
    ],
)
def test_lines_that_are_not_taken(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(OptionError, match="requirements: ") as error:
        read_requirements([tmp_path / "r.txt"], "requirements", target().markers)
    assert what in str(error.value)


def test_included_files_comments_and_continued_lines(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# all\n-r more.txt\na==1 \\\n  --hash=sha256:0 # why\n")
    (tmp_path / "more.txt").write_text("b>=2\n-r r.txt\n")
    lines = read_requirements([tmp_path / "r.txt"], "requirements", target().markers)
    assert [line.text() for line in lines] == ["b>=2", "a==1 --hash=sha256:0"]
    assert [line.pinned for line in lines] == [False, True]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_requirements_in_windows_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.txt").write_bytes("a==1  # größer\r\n-r more.txt\r\n".encode(encoding))
    (tmp_path / "more.txt").write_bytes("b>=2\r\n".encode(encoding))
    lines = read_requirements([tmp_path / "r.txt"], "requirements", target().markers)
    assert [line.text() for line in lines] == ["a==1", "b>=2"]


def test_wheels_are_laid_out_as_pip_installs_them(index: Path, tmp_path: Path) -> None:
    files = {
        "tool-1.0.data/scripts/run": "#!python\nprint(1)",
        "tool-1.0.data/purelib/extra.py": "",
        "tool-1.0.data/data/share/tool.txt": "",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\nTool = tool:cli.main\n",
    }
    make_wheel(index, "tool", files=files)
    where = target()
    (tmp_path / "r.txt").write_text("tool")
    lines = read_requirements([tmp_path / "r.txt"], "requirements", where.markers)
    wheels = fetch_wheels(lines, [], where, tmp_path, 60)
    entries = {entry.path: entry for entry in wheel_entries(wheels, "/opt/python")}
    assert entries["opt/python/bin/run"].content == b"#!/usr/bin/env python3\nprint(1)"
    assert entries["opt/python/bin/run"].executable
    assert "opt/python/extra.py" in entries
    assert "opt/python/share/tool.txt" in entries
    script = entries["opt/python/bin/Tool"].content.decode()
    assert "from tool import cli" in script
    assert "sys.exit(cli.main())" in script


def test_wheel_that_climbs_out_is_refused(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "evil", files={"../../etc/passwd": "x"})
    where = target()
    (tmp_path / "r.txt").write_text("evil")
    lines = read_requirements([tmp_path / "r.txt"], "requirements", where.markers)
    wheels = fetch_wheels(lines, [], where, tmp_path, 60)
    with pytest.raises(WheelError, match="outside of itself"):
        list(wheel_entries(wheels, "/opt/python"))


@pytest.mark.parametrize(
    "entry",
    [
        "../../etc/run = tool:main",
        ".. = tool:main",
        "a/b = tool:main",
        "a = tool:x();y",
        "a = tool",
    ],
)
def test_console_scripts_stay_in_bin(tmp_path: Path, entry: str) -> None:
    files = {"evil-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{entry}\n"}
    make_wheel(tmp_path, "evil", files=files)
    wheel = Wheel(tmp_path / "evil-1.0-py3-none-any.whl")
    with pytest.raises(WheelError, match="console script"):
        list(wheel_entries([wheel], "/opt/python"))


def test_malformed_entry_points_are_named(tmp_path: Path) -> None:
    make_wheel(tmp_path, "evil", files={"evil-1.0.dist-info/entry_points.txt": "nothing"})
    wheel = Wheel(tmp_path / "evil-1.0-py3-none-any.whl")
    with pytest.raises(WheelError, match=r"entry_points\.txt cannot be read"):
        list(wheel_entries([wheel], "/opt/python"))

"""What a container can see and do of the machine it runs on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.sandbox import Cluster, until

from streamops_sandbox.node import enter
from streamops_sandbox.node.isolation import interpreter, python
from streamops_sandbox.node.launch import moved
from streamops_sandbox.node.metadata import user_of

_NOBODY = 65534
_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
LOOK = """
import json, os, pathlib, sys
def tries(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__
home = pathlib.Path(sys.argv[1])
def owner(pid):
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:  # it has ended
        return os.getuid()
others = [int(p) for p in os.listdir("/proc") if p.isdigit() and owner(p) != os.getuid()]
def environ(pid):
    return len(open(f"/proc/{pid}/environ", "rb").read())
def kill(pid):
    os.kill(pid, 0)
found = {
    "user": os.getuid(),
    "groups": os.getgroups(),
    "home": tries(lambda: os.listdir(home)),
    "clusters": tries(lambda: sorted(os.listdir(home / "clusters"))),
    "key": tries(lambda: (home / "service-account.json").read_text()),
    "kubeconfig": tries(lambda: (home / "clusters" / sys.argv[2] / "kubeconfig").read_text()),
    "socket": tries(lambda: __import__("socket").socket(1).connect(str(home / "control.sock"))),
    "shadow": tries(lambda: open("/etc/shadow").read()),
    "environs": [tries(lambda: environ(pid)) for pid in others],
    "kills": [tries(lambda: kill(pid)) for pid in others],
    "effective": [line for line in open("/proc/self/status") if line.startswith("CapEff")],
    "token": tries(lambda: len(open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()) > 100),
    "terminal": tries(lambda: len(os.openpty())),
    "written": [tries(lambda: open(f"{path}/written", "w").write("x")) for path in ("/tmp", "/data", "/etc")],
}
print(json.dumps(found))
"""


def look(cluster: Cluster, name: str, namespace: str, **pod: Any) -> dict[str, Any]:
    """What a pod found."""
    made = cluster.python_pod(
        name,
        namespace,
        LOOK,
        restartPolicy="Never",
        args=[cluster.state["home"], cluster.name],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        pod={"volumes": [{"name": "data", "emptyDir": {}}], **pod},
    )
    cluster.apply(made)
    cluster.wait_for_pod(name, namespace, lambda s: s.get("phase") == "Succeeded", "its end")
    found: dict[str, Any] = json.loads(cluster.logs(name, namespace))
    return found


@_AS_ROOT
def test_a_container_has_no_rights_on_the_machine(cluster: Cluster, namespace: str) -> None:
    found = look(cluster, "apart", namespace)
    assert found["user"] >= 1 << 30
    assert found["groups"] == []
    assert found["effective"] == ["CapEff:\t0000000000000000\n"]
    assert set(found["environs"]) <= {"PermissionError", "FileNotFoundError", "ProcessLookupError"}
    assert set(found["kills"]) <= {"PermissionError", "ProcessLookupError"}
    assert found["shadow"] in ("PermissionError", "FileNotFoundError")
    for name in ("key", "kubeconfig", "socket"):
        assert found[name] in ("PermissionError", "FileNotFoundError"), (name, found[name])
    assert "control.sock" not in found["home"]
    assert found["written"] == ["1", "1", "PermissionError"]
    assert found["token"] == "True"
    assert found["terminal"] == "2"
    assert not Path("/data/written").exists()


def test_a_read_only_root_is_readable(cluster: Cluster, namespace: str) -> None:
    code = "print(open('/data/file', 'w').write('x'))"
    cluster.apply(
        cluster.python_pod(
            "read-only",
            namespace,
            code,
            restartPolicy="Never",
            securityContext={"readOnlyRootFilesystem": True},
            volumeMounts=[{"name": "data", "mountPath": "/data"}],
            pod={"volumes": [{"name": "data", "emptyDir": {}}]},
        )
    )
    ended = ("Succeeded", "Failed")
    cluster.wait_for_pod("read-only", namespace, lambda s: s.get("phase") in ended, "its end")
    assert cluster.logs("read-only", namespace) == "1\n"


@_AS_ROOT
def test_service_accounts_have_users_of_their_own(cluster: Cluster, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    cluster.apply({**account, "metadata": {"name": "other", "namespace": namespace}})
    until(lambda: len(cluster.list("v1", "ServiceAccount", namespace)) == 2, "both accounts")
    users = [
        look(cluster, "first", namespace)["user"],
        look(cluster, "second", namespace)["user"],
        look(cluster, "third", namespace, serviceAccountName="other")["user"],
    ]
    assert users[0] == users[1] != users[2]


@_AS_ROOT
def test_without_root_a_user_namespace_makes_the_view(tmp_path: Path) -> None:
    """As root a user without rights is made first: it makes a view of its own."""
    for name in ("outer", "inner", "volume"):
        (tmp_path / name).mkdir()
    (tmp_path / "volume" / "file").write_text("mounted")
    os.chown(tmp_path / "inner", _NOBODY, _NOBODY)
    folder = Path(enter.__file__).parent
    own = [(one, one) for one in (tmp_path / "inner", tmp_path / "volume", folder)]

    def entering(*options: str, binds: list[tuple[Path, Path]]) -> list[str]:
        pairs = [part for bind in [*python(), *binds] for part in ("--bind", *map(str, bind))]
        return [interpreter(), "-I", "-S", enter.__file__, *options, *pairs, "--"]

    outer = entering("--view", str(tmp_path / "outer"), "--user", str(_NOBODY), binds=own)
    inner = entering(
        "--unprivileged",
        "--view",
        str(tmp_path / "inner"),
        binds=[(tmp_path / "volume", Path("/nowhere/else"))],
    )
    code = "import os; print(open('/nowhere/else/file').read(), os.getuid())"
    done = subprocess.run(
        [*outer, *inner, interpreter(), "-I", "-S", "-c", code],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr or "uid_map" in done.stderr:
        pytest.skip(f"this machine has no user namespaces for everybody: {done.stderr.strip()}")
    assert done.stdout == f"mounted {_NOBODY}\n", done.stderr


def test_without_a_view_paths_of_volumes_are_rewritten() -> None:
    root, places = Path("/home/me/root"), ["/etc/keys", "/data/"]
    for text, expected in {
        "/etc/keys": "/home/me/root/etc/keys",
        "/etc/keys/api": "/home/me/root/etc/keys/api",
        "/etc/keys2": "/etc/keys2",
        "/data/a:/usr/b": "/home/me/root/data/a:/usr/b",
        "http://data/etc/keys": "http://data/etc/keys",
        "": "",
    }.items():
        assert moved(text, places, root) == expected


def test_a_connection_tells_whose_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = listener.getsockname()
        with socket.create_connection(there) as connection:
            here = connection.getsockname()
            assert user_of(here, there) == os.geteuid()
            assert user_of(("127.0.0.2", here[1]), there) is None


def test_a_termination_message_is_the_containers_own_file(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    # Removed first: the node makes the file before the container starts.
    code = f"import os; os.remove('/tmp/note'); os.symlink({str(secret)!r}, '/tmp/note')"
    cluster.apply(
        cluster.python_pod(
            "linked", namespace, code, restartPolicy="Never", terminationMessagePath="/tmp/note"
        )
    )
    ended = ("Succeeded", "Failed")
    pod = cluster.wait_for_pod("linked", namespace, lambda s: s.get("phase") in ended, "its end")
    (container,) = pod["status"]["containerStatuses"]
    assert "of this machine" not in container["state"]["terminated"].get("message", "")

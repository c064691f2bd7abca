"""A release's images from a local registry into one file: knative_bundle against `skopeo copy --all`.

The registry is Debian's docker-registry, the images have the number and roughly the sizes of a release for one
platform. The module's figure is a whole `ansible-playbook` of that one task; skopeo is started for each image, as
it takes one at a time, and writes all into one OCI layout.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks._harness import Result
from support.registries import Registry, debian_registry
from support.site import BIN, ROOT
from support.upstream import Upstream

ROUNDS = 3
IMAGES, LAYER_MIB, BASE_MIB, PROXY_MIB = 24, 16, 3, 64
_MEBIBYTE = 1 << 20


def run() -> Result:
    """Fetch the same images both ways, several times in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with debian_registry(folder) as registry:
            images = _publish(registry)
            ours, theirs, memory = [], [], 0.0
            for _round in range(ROUNDS):
                seconds, used, size = _bundle(folder, images)
                ours.append(seconds)
                memory = max(memory, used)
                theirs.append(_skopeo(folder, images))
    mebibytes = size / _MEBIBYTE
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "name": "bundle",
        "summary": f"{IMAGES + 1} images, {mebibytes:.0f} MiB: {mebibytes / mine:.0f} MiB/s"
        f" = {other / mine:.2f} x skopeo's {mebibytes / other:.0f} MiB/s, {memory:.0f} MiB of memory",
        "figures": {
            "bundle_mebibytes": round(mebibytes, 1),
            "bundle_seconds": mine,
            "skopeo_seconds": other,
            "throughput_ratio_to_skopeo": other / mine,
            "memory_mebibytes": memory,
        },
        "goals": {
            "at least 0.6 x skopeo's throughput": other / mine >= 0.6,
            "memory under 200 MiB": memory < 200,
        },
    }


def _publish(registry: Registry) -> list[str]:
    upstream = Upstream(registry)
    base = os.urandom(BASE_MIB * _MEBIBYTE)
    sizes = [LAYER_MIB] * IMAGES + [PROXY_MIB]
    references = [f"release/image-{number}:1" for number in range(len(sizes))]
    for reference, size in zip(references, sizes, strict=True):
        upstream.publish(reference, layers=[base, os.urandom(size * _MEBIBYTE)])
    return [f"{registry.host}/{reference}" for reference in references]


def _bundle(folder: Path, images: list[str]) -> tuple[float, float, int]:
    """Seconds and MiB of memory that the playbook takes, and the bytes it wrote."""
    path = folder / "knative.tar"
    options = {"path": str(path), "components": [], "images": images}
    task = {"name": "Collect", "streamops.knative.knative_bundle": options}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps([play]))
    begun = time.monotonic()
    process = subprocess.Popen(
        [BIN / "ansible-playbook", "-i", "localhost,", playbook],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the playbook ended with {process.returncode}")
    size = path.stat().st_size
    path.unlink()
    return seconds, usage.ru_maxrss / 1024, size


def _skopeo(folder: Path, images: list[str]) -> float:
    """Seconds that skopeo takes for the same images."""
    layout = folder / "layout"
    begun = time.monotonic()
    for number, image in enumerate(images):
        command = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--src-tls-verify=false",
        ]
        target = f"oci:{layout}:image-{number}"
        subprocess.run([*command, f"docker://{image}", target], check=True)
    seconds = time.monotonic() - begun
    shutil.rmtree(layout)
    return seconds

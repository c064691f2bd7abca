"""A pod's volumes as folders, kept up to date with what they come from.

Supported: emptyDir, configMap, secret and projected (of configMap, secret and serviceAccountToken,
and downwardAPI of the pod's fields). ConfigMaps and Secrets are written the kubelet's
way: into a new folder that a link then points to, so a reader sees all of an update or nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from streamops_sandbox.node.env import ConfigError, Lookup, source_data
from streamops_sandbox.node.fields import pod_field
from streamops_sandbox.node.images.unpack import resolve
from streamops_sandbox.node.isolation import give
from streamops_sandbox.objects import Object

Files = dict[str, tuple[bytes, int]]  # relative path -> content, mode
#: (audience or "", seconds) -> the TokenRequest's status: `token`, `expirationTimestamp`.
RequestToken = Callable[[str, int], Awaitable[Object]]

_TOKEN_SECONDS = 3607  # what the API server's own projection asks for


@dataclass
class Volumes:
    """The volumes of one pod below `folder`; call `update` again to refresh them."""

    folder: Path
    lookup: Lookup
    request_token: RequestToken
    owner: int | None = None
    #: By audience and seconds: the token, and when it is replaced (Unix time).
    _tokens: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict)

    async def update(self, pod: Object) -> float | None:
        """Write all volumes; returns after how many seconds a token has to be refreshed.

        Raises ConfigError where something that is not optional is missing.
        """
        for volume in pod["spec"].get("volumes") or []:
            name = volume["name"]
            target = self.folder / name
            try:
                if "emptyDir" in volume:
                    target.mkdir(parents=True, exist_ok=True)
                    target.chmod(0o777)
                else:
                    write_atomically(target, await self._files(pod, volume), self.owner)
            except ConfigError as error:
                text = f'MountVolume.SetUp failed for volume "{name}" : {error}'
                raise ConfigError(text) from None
        if not self._tokens:
            return None
        return max(1.0, min(refresh_at for _, refresh_at in self._tokens.values()) - time.time())

    async def _files(self, pod: Object, volume: Object) -> Files:
        if source := volume.get("configMap"):
            return self._keys("ConfigMap", source["name"], source)
        if source := volume.get("secret"):
            return self._keys("Secret", source["secretName"], source)
        if (source := volume.get("projected")) is not None:
            return await self._projected(pod, source)
        kind = next(key for key in volume if key != "name")
        raise ConfigError(f"volumes of type {kind} are not supported by this node")

    async def _projected(self, pod: Object, projected: Object) -> Files:
        mode = projected.get("defaultMode", 0o644)
        files: Files = {}
        for source in projected.get("sources") or []:
            if token := source.get("serviceAccountToken"):
                seconds = token.get("expirationSeconds", _TOKEN_SECONDS)
                content = await self._token(token.get("audience", ""), seconds)
                files[token["path"]] = (content.encode(), 0o600)
            elif reference := source.get("configMap"):
                files |= self._keys("ConfigMap", reference["name"], reference, mode)
            elif reference := source.get("secret"):
                files |= self._keys("Secret", reference["name"], reference, mode)
            elif downward := source.get("downwardAPI"):
                files |= _downward(pod, downward, mode)
            else:
                kind = next(iter(source), "empty")
                raise ConfigError(
                    f"projected sources of type {kind} are not supported by this node"
                )
        return files

    def _keys(self, kind: str, name: str, source: Object, mode: int = 0o644) -> Files:
        data = source_data(kind, name, source, self.lookup)
        mode = source.get("defaultMode", mode)
        items = source.get("items")
        if not items:
            return {key: (content, mode) for key, content in data.items()}
        files: Files = {}
        for item in items:
            if item["key"] in data:
                files[item["path"]] = (data[item["key"]], item.get("mode", mode))
            elif not source.get("optional"):
                raise ConfigError(f"references non-existent {kind.lower()} key: {item['key']}")
        return files

    async def _token(self, audience: str, seconds: int) -> str:
        """Return a token; a new one where 80 % of the time of the known one are over."""
        token, refresh_at = self._tokens.get((audience, seconds), ("", 0.0))
        if time.time() >= refresh_at:
            status = await self.request_token(audience, seconds)
            expires = datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
            refresh_at = time.time() + 0.8 * (expires - time.time())
            token, _ = self._tokens[audience, seconds] = status["token"], refresh_at
        return token


def write_atomically(folder: Path, files: Files, owner: int | None = None) -> None:
    """Make `folder` hold exactly these files of a user's, switching over all at once.

    As the kubelet does it: `folder/name` -> `..data/name`, `..data` -> a folder of this update.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.is_symlink() and _content(current.resolve()) == files:
        return
    fresh = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.time_ns() % 10**9}"
    for name, (content, mode) in files.items():
        path = fresh / _inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    fresh.mkdir(exist_ok=True)
    folder.chmod(0o755)
    give(fresh, owner)
    stale = current.resolve() if current.is_symlink() else None
    temporary = folder / "..data_tmp"
    temporary.symlink_to(fresh.name)
    temporary.replace(current)
    names = {PurePosixPath(name).parts[0] for name in files}
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name)
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    if stale is not None:
        shutil.rmtree(stale, ignore_errors=True)


def _content(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"path {name!r} leads out of its volume")
    return str(path)


def _downward(pod: Object, source: Object, mode: int) -> Files:
    files: Files = {}
    for item in source.get("items") or []:
        if "fieldRef" not in item:
            raise ConfigError(f"{item['path']}: resourceFieldRef is not supported by this node")
        text = pod_field(pod, item["fieldRef"]["fieldPath"])
        files[item["path"]] = (text.encode(), item.get("mode", mode))
    return files


def mount(root: Path, volumes: Volumes, container: Object) -> None:
    """Put a container's volumes at their places below its root folder, as links."""
    mounts = sorted(container.get("volumeMounts") or [], key=lambda entry: entry["mountPath"])
    for entry in mounts:
        source = volumes.folder / entry["name"]
        if "subPathExpr" in entry:
            raise ConfigError(f"{entry['name']}: subPathExpr is not supported by this node")
        if sub_path := entry.get("subPath"):
            source /= _inside(sub_path)
            if not source.exists():
                source.mkdir(parents=True)
        place = resolve(root, entry["mountPath"], follow_last=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)  # what the image has there is hidden, as by a mount
        elif place.is_symlink() or place.exists():
            place.unlink()
        place.symlink_to(os.path.abspath(source))

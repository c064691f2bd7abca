"""Where the checkpoint is kept: a ConfigMap, a file, or nowhere."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any, Protocol

from twitter_producer.kubernetes import Kubernetes, KubernetesError
from twitter_producer.settings import Settings

log = logging.getLogger(__name__)


class StoreError(Exception):
    """The checkpoint could not be read or written now; trying again may help."""


class Conflict(Exception):
    """Someone else has written the checkpoint: two producers share it."""


class Store(Protocol):
    """Keeps one text."""

    def load(self) -> str | None:
        """Return the stored text, None if there is none; StoreError if it cannot be told."""
        ...

    def save(self, text: str) -> None:
        """Replace the text at once or not at all; StoreError, or Conflict with another writer."""
        ...

    def set_aside(self, text: str) -> None:
        """Keep a text that is no checkpoint, for people to look at."""
        ...


class NoStore:
    """Keeps nothing: each start is a first start."""

    def load(self) -> str | None:
        """Return None."""
        return None

    def save(self, text: str) -> None:
        """Forget it."""

    def set_aside(self, text: str) -> None:
        """Forget it."""


class FileStore:
    """A file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> str | None:
        """Return what is in the file."""
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    def save(self, text: str) -> None:
        """Write beside and rename over, so that a crash leaves the old or the new text."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    def set_aside(self, text: str) -> None:
        """Rename the file."""
        aside = self._path.with_name(f"{self._path.name}.unreadable-{int(time.time())}")
        try:
            self._path.rename(aside)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
        log.warning("the unreadable checkpoint is kept", extra={"file": str(aside)})


class ConfigMapStore:
    """A ConfigMap, replaced only as long as it is what was read or written last."""

    KEY = "checkpoint.json"
    ASIDE = "unreadable"

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self._kubernetes, self._name = kubernetes, name
        self._collection = f"/api/v1/namespaces/{kubernetes.namespace}/configmaps"
        self._object: dict[str, Any] | None = None

    def load(self) -> str | None:
        """Return the text and remember the ConfigMap's version."""
        self._object = self._get()
        return self._text(self._object)

    def save(self, text: str) -> None:
        """Write with the version remembered; labels and the like may change in between."""
        if self._object is None:
            self._create(text)
            return
        if self._text(self._object) == text:
            return
        before = self._text(self._object)
        try:
            self._put(text)
        except Conflict:
            self._object = self._get()
            if self._text(self._object) != before:
                raise
            self._put(text)

    def set_aside(self, text: str) -> None:
        """Keep the text under another key."""
        if self._object is not None:
            self._object.setdefault("data", {})[self.ASIDE] = text
            log.warning(
                "the unreadable checkpoint is kept",
                extra={"configmap": self._name, "key": self.ASIDE},
            )

    def _text(self, configmap: dict[str, Any] | None) -> str | None:
        text = ((configmap or {}).get("data") or {}).get(self.KEY)
        return str(text) if text is not None else None

    def _get(self) -> dict[str, Any] | None:
        try:
            return self._request("GET", f"{self._collection}/{self._name}")
        except StoreError as error:
            if getattr(error.__cause__, "status", None) == 404:
                return None
            raise

    def _create(self, text: str) -> None:
        metadata = {
            "name": self._name,
            "labels": {"app.kubernetes.io/managed-by": "twitter-producer"},
        }
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {self.KEY: text},
        }
        self._object = self._request("POST", self._collection, body)

    def _put(self, text: str) -> None:
        if self._object is None:
            self._create(text)
            return
        data = {**(self._object.get("data") or {}), self.KEY: text}
        body = {**self._object, "data": data}
        self._object = self._request("PUT", f"{self._collection}/{self._name}", body)

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            return self._kubernetes.request(method, path, body)
        except KubernetesError as error:
            if error.status == 409:
                raise Conflict(f"ConfigMap {self._name}: {error}") from error
            raise StoreError(f"ConfigMap {self._name}: {error}") from error


def store(settings: Settings, kubernetes: Kubernetes | None) -> Store:
    """Return the store that the settings ask for."""
    if settings.state == "configmap":
        assert kubernetes is not None
        return ConfigMapStore(kubernetes, settings.state_configmap)
    if settings.state == "file":
        assert settings.state_file is not None
        return FileStore(settings.state_file)
    return NoStore()

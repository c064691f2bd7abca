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

#: Conflicts with other writers of labels that are retried in a row.
_LABEL_CHANGES = 5


class StoreError(Exception):
    """The checkpoint could not be read or written now; retrying may help."""


class Conflict(Exception):
    """Another producer has written the checkpoint."""


class Store(Protocol):
    """Keeps one text."""

    def load(self) -> str | None:
        """Return the stored text, None if there is none; StoreError if it is not known."""
        ...

    def save(self, text: str) -> None:
        """Replace the text at once or not at all; StoreError, or Conflict with another writer."""
        ...

    def set_aside(self, text: str) -> None:
        """Keep a text that is not a valid checkpoint, for people to look at."""
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
    """A ConfigMap, replaced only as long as its text is what was read or written last."""

    KEY = "checkpoint.json"
    ASIDE = "unreadable"

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self._kubernetes, self._name = kubernetes, name
        self._collection = f"/api/v1/namespaces/{kubernetes.namespace}/configmaps"
        self._object: dict[str, Any] | None = None

    def load(self) -> str | None:
        """Return the text and remember the ConfigMap's version."""
        self._object = self._get()
        return _text(self._object)

    def save(self, text: str) -> None:
        """Write with the version remembered; labels and the like may change in between.

        A conflict may come of an own write whose answer was lost, so what is stored is compared:
        the new text has been written already, the former one is there to be replaced, and any
        other is another producer's.
        """
        before = _text(self._object)
        if self._object is None and self._find(text, before):
            return
        for _ in range(_LABEL_CHANGES):
            try:
                self._object = self._write(text)
                return
            except KubernetesError as error:
                deleted = error.status == 404 and self._object is not None
                if not deleted and error.status != 409:
                    raise StoreError(f"ConfigMap {self._name}: {error}") from error
            if self._find(text, before):
                return
        raise StoreError(f"ConfigMap {self._name}: it changes all the time")

    def _find(self, text: str, before: str | None) -> bool:
        """Return whether the text is stored already; Conflict if it is neither this nor `before`."""
        self._object = self._get()
        stored = _text(self._object)
        if stored == text:
            return True
        if stored != before and self._object is not None:
            raise Conflict(
                f"ConfigMap {self._name} was written by another producer"
                if stored is not None
                else f"ConfigMap {self._name} was emptied while this producer was running"
            )
        return False

    def set_aside(self, text: str) -> None:
        """Keep the text under another key."""
        if self._object is not None:
            self._object["data"] = {**(self._object.get("data") or {}), self.ASIDE: text}
            log.warning(
                "the unreadable checkpoint is kept",
                extra={"configmap": self._name, "key": self.ASIDE},
            )

    def _write(self, text: str) -> dict[str, Any]:
        if self._object is None:
            return self._create(text)
        data = {**(self._object.get("data") or {}), self.KEY: text}
        path = f"{self._collection}/{self._name}"
        return self._kubernetes.request("PUT", path, {**self._object, "data": data})

    def _create(self, text: str) -> dict[str, Any]:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name,
                "labels": {"app.kubernetes.io/managed-by": "twitter-producer"},
            },
            "data": {self.KEY: text},
        }
        try:
            return self._kubernetes.request("POST", self._collection, body)
        except KubernetesError as error:
            if error.status != 403:
                raise
            raise StoreError(
                f"ConfigMap {self._name} does not exist and this service account may not create "
                f"it: create it (kubectl create configmap {self._name} "
                f"--namespace {self._kubernetes.namespace}, or run the pipeline's playbook again), "
                f"or allow create on configmaps: {error}"
            ) from error

    def _get(self) -> dict[str, Any] | None:
        try:
            return self._kubernetes.request("GET", f"{self._collection}/{self._name}")
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise StoreError(f"ConfigMap {self._name}: {error}") from error


def _text(configmap: dict[str, Any] | None) -> str | None:
    text = ((configmap or {}).get("data") or {}).get(ConfigMapStore.KEY)
    return str(text) if text is not None else None


def store(settings: Settings, kubernetes: Kubernetes | None) -> Store:
    """Return the store that the settings ask for."""
    if settings.state == "configmap":
        assert kubernetes is not None
        return ConfigMapStore(kubernetes, settings.state_configmap)
    if settings.state == "file":
        assert settings.state_file is not None
        return FileStore(settings.state_file)
    return NoStore()

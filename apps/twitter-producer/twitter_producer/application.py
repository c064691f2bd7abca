"""The program: its parts, and what ends the process as an exit code."""

from __future__ import annotations

import logging

from twitter_producer import logs, stores
from twitter_producer.kubernetes import Kubernetes, KubernetesError
from twitter_producer.lease import Lease
from twitter_producer.producer import Fatal, Producer
from twitter_producer.server import Server
from twitter_producer.settings import Settings, SettingsError, load, without_secrets
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.sources.replay import ReplayError

log = logging.getLogger("twitter_producer")

USAGE_ERROR = 2


def run(shutdown: Shutdown) -> int:
    """Run until shutdown is requested; return the exit code (2: the configuration is wrong)."""
    logs.configure("INFO")
    try:
        settings = load()
    except SettingsError as error:
        return _die(f"the settings are wrong: {error}", USAGE_ERROR)
    logging.getLogger("twitter_producer").setLevel(settings.log_level)
    shutdown.grace_seconds = settings.shutdown_grace_seconds
    try:
        return _work(settings, shutdown)
    except Fatal as error:
        return _die(str(error), error.code)
    except (KubernetesError, ReplayError) as error:
        return _die(str(error), USAGE_ERROR)
    except Exception as error:
        log.critical("this is a bug", exc_info=True)
        logs.last_words(f"this is a bug: {error!r}")
        return 1


def _work(settings: Settings, shutdown: Shutdown) -> int:
    heartbeat = Heartbeat()
    in_cluster = settings.state == "configmap" or settings.lease
    kubernetes = Kubernetes(settings) if in_cluster else None
    lease = None
    if kubernetes is not None and settings.lease:
        lease = Lease(
            kubernetes,
            settings.lease,
            settings.pod_name,
            settings.lease_duration_seconds,
            shutdown,
        )
    store = stores.store(settings, kubernetes)
    holds_lease = lease.valid if lease is not None else lambda: True
    producer = Producer(settings, store, shutdown, heartbeat, holds_lease)
    shutdown.abort = producer.abort
    server = _serve(settings, producer)
    log.info(
        "started",
        extra={
            "source": settings.source,
            "query": settings.query,
            "sink": without_secrets(settings.k_sink),
            "port": server.port,
        },
    )
    try:
        if lease is not None:
            producer.stand_by()
            if not lease.acquire(heartbeat):
                return 1 if settings.run_once else 0
        code = producer.run()
        return 1 if lease is not None and lease.lost else code
    finally:
        if lease is not None:
            lease.release()
        server.close()


def _serve(settings: Settings, producer: Producer) -> Server:
    address = settings.host, settings.port
    try:
        return Server(*address, producer, producer.metrics, probe=settings.probe_enabled)
    except OSError as error:
        raise Fatal(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error


def _die(message: str, code: int) -> int:
    log.critical(message)
    logs.last_words(message)
    return code

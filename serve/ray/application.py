"""The command's side: starts or joins Ray, the predictor actors and the ingress, and ends them again."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
from ray import serve as ray_serve

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.data_folder import data_folder
from nnunet_losses.serve.http.worker_plans import worker_plans

from ..jobs.ground import Ground
from ..jobs.ledger import new_token
from ..workers.overseer import GRACE
from ..workers.process import OpenBundle, open_bundle
from .accepted import AcceptedBundles
from .actor import LAST_WORDS, PredictorActor
from .cluster import Cluster
from .loopback import stay_on_loopback
from .notice import StoppingNotice
from .port import proxy_port
from .proxy import OneRequestId
from .settings import ClusterSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from nnunet_losses.serve.http.settings import Settings

    from ..workers.plan import WorkerPlan

NAME = "nnunet-losses"  # Ray's namespace of the actors, and Serve's application
# Ray's own log of requests would hold their paths; ours does not.
LOGGING = {"enable_access_log": False, "encoding": "JSON"}


def run(settings: Settings, *, started: Callable[[str], None], opened: OpenBundle = open_bundle) -> None:
    """Serve until SIGTERM or Ctrl+C.

    A Ray cluster is joined if RAY_ADDRESS names one. Otherwise one of this machine alone is started, which
    listens on the loopback interface and ends with this process.

    Args:
        settings: of the service.
        started: told the service's address.
        opened: opens a bundle.
    """
    cluster = ClusterSettings()
    plans = _plans(settings, cluster)
    with _ray(cpus=len(plans) * cluster.predictor_cpus), data_folder(settings) as folder:
        ending = _signals()  # Ray has set handlers of its own
        settings = settings.model_copy(update={"data_folder": folder.resolve()})
        with (
            _predictors(plans, settings, cluster, opened=opened) as predictors,
            _ingress(settings, cluster, predictors.cluster) as url,
        ):
            started(url)
            ending.wait()
            predictors.stopping.post()  # from now on nobody takes jobs
            predictors.drain(grace=settings.shutdown_timeout)


def _signals() -> threading.Event:
    """Give what the first signal sets; a second one kills."""
    ending = threading.Event()

    def handle(number: int, _: Any) -> None:
        ending.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return ending


def _plans(settings: Settings, cluster: ClusterSettings) -> tuple[WorkerPlan, ...]:
    """As many as the operator wants, on his devices in turn."""
    plans = worker_plans(settings)
    return tuple(plans[index % len(plans)] for index in range(cluster.predictors or len(plans)))


@contextmanager
def _ray(*, cpus: float) -> Iterator[None]:
    """Join the cluster at RAY_ADDRESS, or start one here."""
    if os.environ.get("RAY_ADDRESS"):
        ray.init(namespace=NAME)
    else:
        ray.init(
            address="local",
            namespace=NAME,
            include_dashboard=False,
            num_cpus=max(os.cpu_count() or 1, int(-(-cpus // 1))),
        )
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class _Predictors:
    """The actors, and what makes an ingress replica's view of them."""

    actors: tuple[Any, ...]
    cluster: Callable[[], Cluster]
    stopping: StoppingNotice

    def drain(self, *, grace: float) -> None:
        """Let running jobs end within so many seconds, or give them back; new ones wait in the queue."""
        asked = [actor.drain.remote(grace) for actor in self.actors]
        ray.wait(asked, num_returns=len(asked), timeout=grace + 2 * LAST_WORDS)


@contextmanager
def _predictors(
    plans: tuple[WorkerPlan, ...], settings: Settings, cluster: ClusterSettings, *, opened: OpenBundle
) -> Iterator[_Predictors]:
    """Start the actors; kill them at the end."""
    folder, deployment = settings.data_folder, new_token()[:12]
    assert folder is not None, "run() has chosen one"
    secret = settings.database_url
    url = None if secret is None else secret.get_secret_value()
    Ground.open(folder, url=url, limits=plans[0].limits).close()  # makes the tables, before all others come
    accepted, stopping = AcceptedBundles(folder, deployment), StoppingNotice(folder, deployment)
    names = [f"predictor-{index}-{deployment}" for index in range(len(plans))]
    own = [plan.model_copy(update={"folder": folder, "database_url": url}) for plan in plans]
    options = _options(plans[0], cluster)
    actors = tuple(
        ray.remote(PredictorActor)
        .options(name=name, **options)
        .remote(plan.model_copy(update={"name": name}), accepted, opened=opened)
        for plan, name in zip(own, names, strict=True)
    )
    view = partial(
        Cluster,
        tuple(names),
        namespace=NAME,
        bundles=plans[0].bundles,
        accepted=accepted,
        stopping=stopping,
        patience=plans[0].limits.lease_seconds + GRACE,
        opening=plans[0].opening,
    )
    try:
        yield _Predictors(actors, view, stopping)
    finally:
        for actor in actors:
            ray.kill(actor)
        accepted.remove()
        stopping.remove()


def _options(plan: WorkerPlan, cluster: ClusterSettings) -> dict[str, Any]:
    """Of an actor: a GPU of its own where the devices are GPUs, and started again whenever it dies."""
    return {
        "num_cpus": cluster.predictor_cpus,
        "num_gpus": 0 if plan.device.gpu is None else 1,
        "max_restarts": -1,
        "max_concurrency": 8,  # reports are answered while a bundle is opened
    }


@contextmanager
def _ingress(settings: Settings, cluster: ClusterSettings, view: Callable[[], Cluster]) -> Iterator[str]:
    """Start the replicas that answer HTTP; give their address."""
    alone = not os.environ.get("RAY_ADDRESS")

    def build() -> FastAPI:  # runs on the replica: an application cannot travel
        if alone:
            stay_on_loopback()
        app = create_app(settings, predictors=view())
        app.add_middleware(OneRequestId)
        return app

    with proxy_port(settings.host, settings.port, alone=alone) as port:
        _start_proxy(settings, port)
        deployment = ray_serve.deployment(
            name="ingress",
            num_replicas=cluster.ingresses,
            max_ongoing_requests=settings.max_requests,
            max_queued_requests=settings.max_requests,  # more get 503 from Ray's proxy
            graceful_shutdown_timeout_s=settings.shutdown_timeout,
            ray_actor_options={"num_cpus": 0},
            logging_config=LOGGING,
        )(ray_serve.ingress(build)())
        ray_serve.run(deployment.bind(), name=NAME, route_prefix="/")
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            yield f"{'http' if settings.tls_certificate is None else 'https'}://{host}:{port}"
        finally:
            ray_serve.delete(NAME)


def _start_proxy(settings: Settings, port: int) -> None:
    """Start what accepts connections and hands requests to the replicas."""
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": settings.host,
            "port": port,
            "ssl_certfile": None if settings.tls_certificate is None else str(settings.tls_certificate),
            "ssl_keyfile": None if settings.tls_key is None else str(settings.tls_key),
        },
        logging_config=LOGGING,
    )

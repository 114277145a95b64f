"""The server in a process of its own, with workers that need no network: ``python -m ... SETTINGS``."""

from __future__ import annotations

import logging.config
import signal
import socket
import sys

import uvicorn

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.draining import DrainingServer
from nnunet_losses.serve.http.logs import logging_configuration
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.http.worker_plans import worker_plans
from nnunet_losses.serve.workers.supervisor import Supervisor

COMMAND = (sys.executable, "-m", "tests.serve.service.worker")


def steered(settings: Settings) -> Supervisor:
    """Worker processes whose network does what its input says."""
    return Supervisor(worker_plans(settings), command=COMMAND)


def main(text: str) -> None:
    logging.config.dictConfig(logging_configuration())
    settings = Settings.model_validate_json(text)
    app = create_app(settings, predictors=steered(settings))
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as the command does: after uvicorn's own
    configuration = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    DrainingServer(configuration).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])

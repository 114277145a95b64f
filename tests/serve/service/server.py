"""The server in a process of its own, with workers that need no network: ``python -m ... SETTINGS SIGNS``."""

from __future__ import annotations

import logging.config
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.draining import DrainingServer
from nnunet_losses.serve.http.logs import logging_configuration
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.http.worker_plans import worker_plans
from nnunet_losses.serve.workers.supervisor import Supervisor

COMMAND = (sys.executable, "-m", "tests.serve.service.worker")


def steered(settings: Settings, signs: Path) -> Supervisor:
    """Worker processes whose network does what its input says, and that leave signs in a folder."""
    return Supervisor(worker_plans(settings), command=(*COMMAND, str(signs)))


def main(text: str, signs: Path) -> None:
    logging.config.dictConfig(logging_configuration())
    settings = Settings.model_validate_json(text)
    app = create_app(settings, predictors=steered(settings, signs))
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as the command does: after uvicorn's own
    configuration = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_keep_alive=3600,  # else a connection may be closed while a request is on its way
        timeout_graceful_shutdown=5,
    )
    DrainingServer(configuration).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

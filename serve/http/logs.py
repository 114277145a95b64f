"""The service's log; see ``serve/logs.py``, which rooms without HTTP use, too."""

from nnunet_losses.serve.logs import LOGGER, REQUEST_ID, JsonFormatter, log_event, logging_configuration

__all__ = ["LOGGER", "REQUEST_ID", "JsonFormatter", "log_event", "logging_configuration"]

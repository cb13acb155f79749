"""What goes wrong over HTTP: one line of JSON with the fitting status, never a traceback."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from samovar.errors import DeviceError, InputError, MissingExtraError, SamovarError, WeightsError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["BadGateway", "Busy", "NotFound", "TooLarge", "TooSlow", "problem", "status_of"]

_log = logging.getLogger("samovar.serve")


class BadGateway(SamovarError):
    """Another server, which this one needs for its answer, does not answer as it should."""


class Busy(SamovarError):
    """More work is waiting than the server will hold."""


class NotFound(InputError):
    """An image that the server does not have, or no longer."""


class TooLarge(InputError):
    """A request body beyond the bound."""


class TooSlow(SamovarError):
    """It took longer than a request may; the work goes on, so asking again is worth while."""


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BadGateway, 502),
    (Busy, 503),
    (NotFound, 404),
    (TooLarge, 413),
    (TooSlow, 504),
    (InputError, 400),
    (MissingExtraError, 503),
    (WeightsError, 503),
    (DeviceError, 503),
)


def status_of(error: Exception) -> int:
    """The HTTP status that says what kind of error it is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(request: Request, error: Exception) -> Response:
    """The answer to a request that failed."""
    from samovar_adapters.serve.responses import JsonResponse

    status = status_of(error)
    if status == 500:
        # The details are for the log; a client learns nothing from them and a stranger might.
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        message = str(error) if isinstance(error, SamovarError) else "an error inside the server; its log says more"
    else:
        message = str(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return JsonResponse({"error": message}, status_code=status, headers=headers)

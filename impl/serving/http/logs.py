"""Requests in the log: an id for each, which its client gets too, and with --log-json one line of JSON."""

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request

__all__ = ["REQUEST_ID", "JsonLines", "identify", "log_request", "log_to_stderr"]

REQUEST_ID = "X-Request-Id"
OWN_ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)  # what a client may choose itself: nothing that breaks a line

log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Formats each record as an object of JSON in one line: time, level, logger, message, and what else there is.

    A record that is written while a request is answered has the id of that request.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context() and "request_id" in g:
            line["request_id"] = g.request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(*, as_json: bool) -> None:
    """Write this process's log to stderr: as JSON with a line for each request, or as text without."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    log.setLevel(logging.INFO if as_json else logging.WARNING)


def identify(app: Flask) -> None:
    """Give each request of an application an id, which its answer has too, and log the request.

    A client may choose the id of its request, of at most 100 letters, digits and any of `_.:-`.
    """

    @app.before_request
    def begin() -> None:
        own = request.headers.get(REQUEST_ID, "")
        g.request_id = own if OWN_ID.fullmatch(own) else secrets.token_hex(8)
        g.started = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[REQUEST_ID] = g.request_id
        log_request(
            request.method,
            request.path,
            response.status_code,
            time.perf_counter() - g.started,
            request.remote_addr,
        )
        return response


def log_request(method: str, path: str, status: int, seconds: float | None, client: str | None) -> None:
    """Log a request that was answered; `seconds` is None if no application saw it."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {"method": method, "path": path[:200], "status": status, "client": client}
    if seconds is not None:
        fields["seconds"] = round(seconds, 6)
    log.info("request", extra={"fields": fields})

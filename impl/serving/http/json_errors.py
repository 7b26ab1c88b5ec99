"""Applications that answer in JSON: every error has a reason, and there are no pages, redirects or stack traces."""

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from ..runtime.refusals import Refusal
from .errors import ServingError, answer_to

__all__ = ["json_application"]


def json_application(name: str) -> Flask:
    """Return a new application without routes.

    A path that is nearly right gets 404, where Flask redirects with a page in HTML: clients would post again, or not.
    """
    app = Flask(name, static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # an empty page
    _report_errors(app)
    return app


def _report_errors(app: Flask) -> None:
    @app.errorhandler(ServingError)
    def answered(error: ServingError) -> Response:
        return _json_error(error.status, error.reason, error.retry_after)

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        return answered(answer_to(refusal))

    @app.errorhandler(HTTPException)
    def flask_refused(error: HTTPException) -> Response:
        response = _json_error(error.code or 500, error.description or error.name)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        app.logger.error("a request failed", exc_info=error)
        return _json_error(500, "the server failed; its log has the reason")


def _json_error(status: int, reason: str, retry_after: float | None = None) -> Response:
    response = jsonify(success=False, error=reason)
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response

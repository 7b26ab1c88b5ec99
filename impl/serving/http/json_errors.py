"""Applications that answer in JSON: every error has a reason, and there are no pages, redirects or stack traces.

Each answer has the id of its request, by which the log can be searched.
"""

from flask import Flask, Response, g, jsonify
from werkzeug.exceptions import HTTPException

from ..runtime.refusals import Refusal
from .errors import ServingError, answer_to
from .logs import identify

__all__ = ["json_application"]


def json_application(name: str) -> Flask:
    """Return a new application without routes.

    A path that is nearly right gets 404, where Flask redirects with a page in HTML: clients would post again, or not.
    """
    app = Flask(name, static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # an empty page
    identify(app)
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
        app.logger.error("request %s failed", g.request_id, exc_info=error)
        return _json_error(500, "the server failed; its log has the reason")


def _json_error(status: int, reason: str, retry_after: float | None = None) -> Response:
    response = jsonify(success=False, error=reason)
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response

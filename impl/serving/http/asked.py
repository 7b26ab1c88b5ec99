"""What a client asks for and would not get is refused with the reason, and never ignored."""

from collections.abc import Mapping

from flask import Flask, request

from .errors import ServingError
from .strict import shown

__all__ = ["refuse_unknown"]


def refuse_unknown(app: Flask, parameters: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse encodings of bodies, and parameters of queries, that an application does not know.

    Args:
        app: The application.
        parameters: The parameters of each endpoint that takes images; others take none and are not checked.
    """

    @app.before_request
    def check() -> None:
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise ServingError(
                415, f"the body is encoded as {shown(repr(encoding))}: send it as it is, without an encoding"
            )
        known = parameters.get(request.endpoint or "")
        if known is None:
            return
        for name, values in request.args.lists():
            if name not in known:
                names = ", ".join(known) or "none"
                raise ServingError(400, f"there is no parameter {shown(repr(name))} here; known are: {names}")
            if len(values) > 1:
                raise ServingError(400, f"{name} is given {len(values)} times: give it once")

"""The guard before a WSGI application: Flask, Django, Bottle, Pyramid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from .bearer import bearer_token
from .guard import Guard
from .result import required_scopes

_Environ = dict[str, Any]
_App = Callable[[_Environ, Callable[..., Any]], Iterable[bytes]]


class GuardWSGI:
    """Lets a request through to `app` only with an access token that the guard accepts and that has all of `scopes`.

    The application finds the claims in `environ["curfew.claims"]`. Paths for which `exclude` answers true are let through
    without a token, and without claims.
    """

    def __init__(
        self,
        app: _App,
        guard: Guard,
        scopes: str | Iterable[str] = (),
        exclude: Callable[[str], bool] | None = None,
    ) -> None:
        self._app = app
        self._guard = guard
        self._scopes = required_scopes(scopes)
        self._exclude = exclude

    def __call__(self, environ: _Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._exclude is not None and self._exclude(environ.get("PATH_INFO", "")):
            return self._app(environ, start_response)
        token = bearer_token(environ.get("HTTP_AUTHORIZATION"))
        result = self._guard.check(token, self._scopes)
        if result.ok:
            environ["curfew.claims"] = result.claims
            return self._app(environ, start_response)
        headers, body = result.render()
        start_response(f"{result.status} {HTTPStatus(result.status).phrase}", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

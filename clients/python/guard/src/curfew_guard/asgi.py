"""The guard before an ASGI application: FastAPI, Starlette, Quart, Django's ASGI handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from .bearer import bearer_token
from .guard import Guard
from .result import CheckResult, required_scopes

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

# RFC 6455 §7.4.1: a message that violates the endpoint's policy.
_POLICY_VIOLATION = 1008


class AccessEnded(OSError):
    """The WebSocket was closed, because the access token with which it was opened holds no longer."""


class GuardASGI:
    """Lets a request through to `app` only with an access token that the guard accepts and that has all of `scopes`.

    The application finds the claims in `scope["auth"]` (Starlette's `request.auth`) and in
    `scope["state"]["curfew_claims"]` (`request.state.curfew_claims`). Paths for which `exclude` answers true are let
    through without a token, and without claims.

    A WebSocket is refused before it is accepted. One that is open is checked again with every message, and closed with
    code 1008 once its token has ended or expired.
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

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            self._guard.start()
            await self._app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise RuntimeError(f"nothing is known about requests of type {kind!r}")
        if self._exclude is not None and self._exclude(scope["path"]):
            await self._app(scope, receive, send)
            return
        token = _token_of(scope)
        result = await self._guard.check_async(token, self._scopes)
        if not result.ok:
            refuse = _refuse_http if kind == "http" else _refuse_websocket
            await refuse(result, scope, receive, send)
            return
        state = {**(scope.get("state") or {}), "curfew_claims": result.claims}
        inner = {**scope, "auth": result.claims, "state": state}
        if kind == "websocket":
            checked = _CheckedWebSocket(self._guard, token, self._scopes, receive, send)
            receive, send = checked.receive, checked.send
        await self._app(inner, receive, send)


class _CheckedWebSocket:
    """The two ends of an open WebSocket. With a token that holds no longer, no message passes in either direction."""

    def __init__(
        self,
        guard: Guard,
        token: str | None,
        scopes: tuple[str, ...],
        receive: _Receive,
        send: _Send,
    ) -> None:
        self._guard = guard
        self._token = token
        self._scopes = scopes
        self._receive = receive
        self._send = send
        self._ended: CheckResult | None = None

    async def receive(self) -> _Message:
        if self._ended is None:
            message = await self._receive()
            if message["type"] != "websocket.receive" or await self._holds():
                return message
        reason = self._ended.description if self._ended is not None else None
        return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": reason or ""}

    async def send(self, message: _Message) -> None:
        if self._ended is not None and message["type"] == "websocket.close":
            return
        if message["type"] == "websocket.send" and not await self._holds():
            raise AccessEnded("the access token of this WebSocket holds no longer")
        await self._send(message)

    async def _holds(self) -> bool:
        if self._ended is None:
            result = await self._guard.check_async(self._token, self._scopes)
            if result.ok:
                return True
            if self._ended is None:
                self._ended = result
                await self._send(_close(result))
        return False


def _token_of(scope: _Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    # Two of them are no token at all: joined they are not valid, whichever was meant.
    return bearer_token(b",".join(given).decode("latin-1"))


def _answer(result: CheckResult) -> tuple[list[tuple[bytes, bytes]], bytes]:
    headers, body = result.render()
    return [(name.lower().encode(), value.encode()) for name, value in headers], body


def _close(result: CheckResult) -> _Message:
    return {
        "type": "websocket.close",
        "code": _POLICY_VIOLATION,
        "reason": result.description or "",
    }


async def _refuse_http(result: CheckResult, scope: _Scope, receive: _Receive, send: _Send) -> None:
    headers, body = _answer(result)
    await send({"type": "http.response.start", "status": result.status, "headers": headers})
    sent = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": sent})


async def _refuse_websocket(
    result: CheckResult, scope: _Scope, receive: _Receive, send: _Send
) -> None:
    if (await receive())["type"] != "websocket.connect":
        return
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # Before it was accepted: the server answers the handshake with 403.
        await send(_close(result))
        return
    headers, body = _answer(result)
    start = {"status": result.status, "headers": headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": body})

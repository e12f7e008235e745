"""The endpoints of Curfew that a guard calls."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from . import position as positions
from .position import Position

_BODY_BYTES_MAX = 1 << 18
_CONNECT_SECONDS = 5.0
_SHORT_SECONDS = 2.0
_SNAPSHOT_SECONDS = 10.0
# The server sends a comment after 15 seconds of silence.
_SILENCE_SECONDS = 20.0
_CONNECTIONS_MAX = 48


class ServerError(Exception):
    """The server gave no answer, or one that is of no use. `status` is None when there was none."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what)
        self.status = status


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as an object."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ServerError("an answer that is not an object", self.status)
        return value


class Server:
    """Curfew, by the issuer's address. Safe for use by many threads."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._client = httpx.Client(
            headers={"User-Agent": "curfew-guard-python/0.1.0"},
            limits=httpx.Limits(max_connections=_CONNECTIONS_MAX),
            follow_redirects=False,
        )

    def close(self) -> None:
        """Ends every connection; what is under way fails."""
        self._client.close()

    def keys(self) -> bytes:
        """The issuer's JWKS."""
        answer = self._ask("GET", ".well-known/jwks.json")
        if answer.status != 200:
            raise ServerError(f"the JWKS answered {answer.status}", answer.status)
        return answer.body

    def client_credentials(
        self, client_id: str, client_secret: str, audience: str
    ) -> tuple[str, float]:
        """A token for the guard itself, and for how many seconds it is good (RFC 6749 §4.4)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "audience": audience,
        }
        answer = self._ask("POST", "oauth/token", data=form, timeout=_CONNECT_SECONDS)
        if answer.status != 200:
            code = answer.json().get("error")
            raise ServerError(f"no token for the guard: {answer.status} {code}", answer.status)
        match answer.json():
            case {"access_token": str(token), "expires_in": int() | float() as seconds}:
                return token, float(seconds)
        raise ServerError("no token in the token endpoint's answer", answer.status)

    def introspect(self, bearer: str, token: str) -> Answer:
        """What the server says about a token (RFC 7662)."""
        return self._ask(
            "POST", "oauth/introspect", data={"token": token}, headers=_authorization(bearer)
        )

    def probe(self, bearer: str, body: dict[str, Any]) -> Answer:
        """Posts a probe."""
        return self._ask("POST", "endings/probe", json=body, headers=_authorization(bearer))

    @contextlib.contextmanager
    def snapshot(self, bearer: str) -> Iterator[Stream]:
        """What has ended, line by line."""
        headers = {"Accept": "application/x-ndjson", **_authorization(bearer)}
        with self._open("endings/snapshot", headers, {}, _SNAPSHOT_SECONDS) as stream:
            yield stream

    @contextlib.contextmanager
    def feed(self, bearer: str, position: Position) -> Iterator[Stream]:
        """What ends from that position on."""
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
            **_authorization(bearer),
        }
        query = {"position": positions.write(position)}
        with self._open("endings/feed", headers, query, _SILENCE_SECONDS) as stream:
            yield stream

    @contextlib.contextmanager
    def _open(
        self, path: str, headers: dict[str, str], query: dict[str, str], silence_seconds: float
    ) -> Iterator[Stream]:
        timeout = httpx.Timeout(_CONNECT_SECONDS).as_dict()
        with (
            self._errors(path),
            self._client.stream(
                "GET",
                self._issuer + path,
                headers=headers,
                params=query,
                extensions={"timeout": timeout},
            ) as response,
        ):
            # The head has to come soon. What follows it may be silent for longer.
            timeout["read"] = silence_seconds
            yield Stream(response)

    def _ask(self, method: str, path: str, timeout: float = _SHORT_SECONDS, **request: Any) -> Answer:
        body = bytearray()
        with (
            self._errors(path),
            self._client.stream(
                method, self._issuer + path, timeout=timeout, **request
            ) as response,
        ):
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _BODY_BYTES_MAX:
                    raise ServerError(f"{path} does not end", response.status_code)
        return Answer(response.status_code, bytes(body))

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise ServerError(f"{path}: {type(error).__name__}: {error}") from error
        except RuntimeError as error:
            # What httpx says of a client that was closed meanwhile. Anything else is a fault of ours.
            if not self._client.is_closed:
                raise
            raise ServerError(f"{path}: closed") from error


class Stream:
    """An answer that is read as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def pieces(self) -> Iterator[bytes]:
        """The body, in the pieces in which it arrives."""
        return self._response.iter_bytes()

    def abort(self) -> None:
        """Ends the connection from another thread: whoever reads from it is told at once."""
        network = self._response.extensions.get("network_stream")
        connection = network.get_extra_info("socket") if network is not None else None
        if isinstance(connection, socket.socket):
            # Not the method of a TLS socket, which would go on reading what is encrypted as if it were not.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _authorization(bearer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {bearer}"}


"""The middleware before Starlette, served by uvicorn; and before bare ASGI applications."""

import asyncio
import threading

import httpx
import pytest
import uvicorn
import websockets.exceptions
import websockets.sync.client
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from curfew_guard import AccessEnded, GuardASGI
from fake_curfew import NUMBER, USER, eventually


async def who(request):
    assert request.auth is request.state.curfew_claims
    return JSONResponse({"sub": request.auth["sub"], "scopes": request.auth.scopes})


@requires("delete:things")
async def delete(request):
    return JSONResponse({})


async def health(request):
    return JSONResponse({"claims": request.scope.get("auth")})


async def chat(websocket):
    await websocket.accept()
    await websocket.send_text(websocket.auth["sub"])
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


application = Starlette(
    routes=[
        Route("/who", who),
        Route("/delete", delete),
        Route("/health", health),
        WebSocketRoute("/chat", chat),
    ]
)


@pytest.fixture
def api(guard):
    """The application behind the guard, served for real; the address of it."""
    guarded = GuardASGI(application, guard, ["read:things"], exclude=lambda path: path == "/health")
    config = uvicorn.Config(guarded, port=0, log_level="error", ws="websockets-sansio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def get(api, path="/who", token=None, authorization=None, method="GET"):
    headers = {} if authorization is None else {"Authorization": authorization}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.request(method, f"http://{api}{path}", headers=headers)


def test_a_good_token(api, curfew):
    answer = get(api, token=curfew.token())
    assert answer.status_code == 200
    assert answer.json() == {"sub": "auth0|someone", "scopes": ["read:things", "write:things"]}
    assert get(api, authorization=f"bearer  {curfew.token()}").status_code == 200


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic eDp5", "Bearerx y"])
def test_no_token(api, authorization):
    answer = get(api, authorization=authorization)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content == b""


def test_an_ended_token(api, curfew, guard, heard):
    token = curfew.token()
    assert get(api, token=token).status_code == 200
    curfew.end("user", USER, NUMBER + 1, curfew.until())
    heard(guard)
    answer = get(api, token=token)
    assert answer.status_code == 401
    description = "The access token has ended."
    assert answer.json() == {"error": "invalid_token", "error_description": description}
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.headers["Cache-Control"] == "no-store"
    head = get(api, token=token, method="HEAD")
    assert (head.status_code, head.headers["WWW-Authenticate"]) == (401, challenge)


def test_two_tokens_are_none(api, curfew):
    good = curfew.token()
    headers = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    assert httpx.get(f"http://{api}/who", headers=headers).status_code == 401


def test_a_token_is_looked_for_in_the_header_alone(api, curfew):
    assert get(api, f"/who?access_token={curfew.token()}").status_code == 401


def test_a_scope_is_missing(api, curfew):
    answer = get(api, token=curfew.token(scope="write:things"))
    assert answer.status_code == 403
    challenge = 'Bearer error="insufficient_scope", scope="read:things"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.json()["error"] == "insufficient_scope"


def test_starlettes_own_check_of_scopes(api, curfew):
    assert get(api, "/delete", curfew.token()).status_code == 403
    everything = curfew.token(scope="read:things delete:things")
    assert get(api, "/delete", everything).status_code == 200


def test_when_nothing_can_be_known(api, curfew, clock):
    curfew.down = True
    curfew.cut()
    clock.advance(11)
    answer = get(api, token=curfew.token())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "WWW-Authenticate" not in answer.headers
    assert answer.json()["error"] == "temporarily_unavailable"


def test_what_is_excluded(api):
    answer = get(api, "/health")
    assert answer.status_code == 200
    assert answer.json() == {"claims": None}
    assert get(api, "/health/more").status_code == 401


# ---- WebSockets


def connect(api, token=None):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return websockets.sync.client.connect(
        f"ws://{api}/chat", additional_headers=headers, proxy=None
    )


def test_a_websocket(api, curfew):
    with connect(api, curfew.token()) as websocket:
        assert websocket.recv() == "auth0|someone"
        websocket.send("hello")
        assert websocket.recv() == "HELLO"


def test_a_websocket_is_refused_before_it_is_accepted(api, curfew):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(api)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(api, curfew.token(scope="write:things"))
    assert refused.value.response.status_code == 403


def test_an_open_websocket_ends_with_its_token(api, curfew, guard, heard):
    with connect(api, curfew.token()) as websocket:
        websocket.send("hello")
        assert [websocket.recv(), websocket.recv()] == ["auth0|someone", "HELLO"]
        curfew.end("user", USER, NUMBER + 1, curfew.until())
        heard(guard)
        websocket.send("hello again")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            websocket.recv(timeout=30)
        assert closed.value.rcvd.code == 1008
        assert closed.value.rcvd.reason == "The access token has ended."


def converse(app, scope, received):
    """Runs an ASGI application; answers what it sent."""
    sent = []
    waiting = list(received)

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    whole = {"headers": [], "path": "/", "method": "GET", **scope}
    asyncio.run(app(whole, receive, send))
    return sent


def bearer(token):
    return {"headers": [(b"authorization", f"Bearer {token}".encode())]}


def test_a_server_without_denial_responses_is_told_to_close(guard):
    sent = converse(
        GuardASGI(application, guard), {"type": "websocket"}, [{"type": "websocket.connect"}]
    )
    reason = "No access token was sent."
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": reason}]


def test_nothing_is_sent_to_a_client_whose_token_has_ended(guard, curfew, heard):
    failures = []

    async def push(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "before"})
        curfew.end("user", USER, NUMBER + 1, curfew.until())
        await asyncio.to_thread(heard, guard)
        for _ in range(2):
            try:
                await send({"type": "websocket.send", "text": "after"})
            except AccessEnded as error:
                failures.append(error)
        await send({"type": "websocket.close"})
        failures.append((await receive())["type"])

    scope = {"type": "websocket", **bearer(curfew.token())}
    sent = converse(GuardASGI(push, guard), scope, [{"type": "websocket.connect"}])
    assert [message["type"] for message in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert [type(failure) for failure in failures] == [AccessEnded, AccessEnded, str]
    assert failures[2] == "websocket.disconnect"


def test_the_state_of_the_server_is_left_alone(guard, curfew):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    state = {"pool": "shared"}
    scope = {"type": "http", "state": state, **bearer(curfew.token())}
    converse(GuardASGI(app, guard), scope, [])
    assert seen[0]["state"]["pool"] == "shared"
    assert seen[0]["state"]["curfew_claims"] is seen[0]["auth"]
    assert state == {"pool": "shared"}
    assert "auth" not in scope


def test_the_start_of_the_application_starts_the_guard(new_guard):
    guard = new_guard()
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = converse(GuardASGI(application, guard), {"type": "lifespan"}, events)
    assert sent[0] == {"type": "lifespan.startup.complete"}
    assert guard.wait_ready()


def test_a_kind_of_request_that_is_not_known_does_not_pass(guard):
    with pytest.raises(RuntimeError, match="telepathy"):
        converse(GuardASGI(application, guard), {"type": "telepathy"}, [])

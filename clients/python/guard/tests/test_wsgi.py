"""The middleware before Flask, served by werkzeug."""

import threading

import flask
import httpx
import pytest
import werkzeug.serving

from curfew_guard import GuardWSGI
from fake_curfew import NUMBER, USER

application = flask.Flask(__name__)


@application.get("/who")
def who():
    claims = flask.request.environ["curfew.claims"]
    return {"sub": claims["sub"], "scopes": claims.scopes}


@application.get("/health")
def health():
    return {"claims": flask.request.environ.get("curfew.claims")}


class Quiet(werkzeug.serving.WSGIRequestHandler):
    def log(self, *_):
        pass


@pytest.fixture
def api(guard):
    """The application behind the guard, served for real; the address of it."""
    guarded = GuardWSGI(application, guard, "read:things", exclude=lambda path: path == "/health")
    server = werkzeug.serving.make_server(
        "127.0.0.1", 0, guarded, threaded=True, request_handler=Quiet
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def get(api, path="/who", token=None, authorization=None, method="GET"):
    headers = {} if authorization is None else {"Authorization": authorization}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.request(method, api + path, headers=headers)


def test_a_good_token(api, curfew):
    answer = get(api, token=curfew.token())
    assert answer.status_code == 200
    assert answer.json() == {"sub": "auth0|someone", "scopes": ["read:things", "write:things"]}


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic eDp5", "Bearerx y"])
def test_no_token(api, authorization):
    answer = get(api, authorization=authorization)
    assert (answer.status_code, answer.reason_phrase) == (401, "Unauthorized")
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
    assert httpx.get(f"{api}/who", headers=headers).status_code == 401


def test_a_scope_is_missing(api, curfew):
    answer = get(api, token=curfew.token(scope="write:things"))
    assert answer.status_code == 403
    challenge = 'Bearer error="insufficient_scope", scope="read:things"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.json()["error"] == "insufficient_scope"


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

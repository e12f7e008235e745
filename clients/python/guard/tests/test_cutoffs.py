"""Each row of the table of cutoffs: a token that lives, and then has ended, is asked about, or lives on."""

import pytest

from fake_curfew import (
    APPLICATION,
    AUDIENCE,
    CLIENT_NUMBER,
    GRANT,
    NUMBER,
    SID,
    USER,
    eventually,
)

CFW = {"u": USER, "n": NUMBER, "c": CLIENT_NUMBER, "g": GRANT}
WITHOUT_SID = {"sid": None}
WITHOUT_GRANT = {"cfw": {"u": USER, "n": NUMBER, "c": CLIENT_NUMBER}}
MACHINE = {"sid": None, "sub": f"{APPLICATION}@clients", "cfw": {"c": CLIENT_NUMBER}}
BY_CLIENT_ID = {"azp": None, "client_id": APPLICATION}
IAT = 1_795_219_440

ROWS = {
    "user": (["user", USER, NUMBER + 1], {}, "ended"),
    "user, for a token from after it": (["user", USER, NUMBER], {}, "lives"),
    "user, another one": (["user", "x", NUMBER + 1], {}, "lives"),
    "user, for a machine": (["user", USER, NUMBER + 1], MACHINE, "lives"),
    "user_sessions": (["user_sessions", USER, NUMBER + 1, None], {}, "ended"),
    "user_sessions, another one is spared": (["user_sessions", USER, NUMBER + 1, "x"], {}, "ended"),
    "user_sessions, this one is spared": (["user_sessions", USER, NUMBER + 1, SID], {}, "lives"),
    "user_sessions, without a session": (
        ["user_sessions", USER, NUMBER + 1, None],
        WITHOUT_SID,
        "asks",
    ),
    "user_sessions, spared, without a session": (
        ["user_sessions", USER, NUMBER + 1, SID],
        WITHOUT_SID,
        "asks",
    ),
    "user_sessions, from after it": (["user_sessions", USER, NUMBER, None], WITHOUT_SID, "lives"),
    "user_families": (["user_families", USER, NUMBER + 1], {}, "asks"),
    "user_families, from after it": (["user_families", USER, NUMBER], {}, "lives"),
    "user_client": (["user_client", USER, APPLICATION, NUMBER + 1], {}, "ended"),
    "user_client, by client_id": (
        ["user_client", USER, APPLICATION, NUMBER + 1],
        BY_CLIENT_ID,
        "ended",
    ),
    "user_client, another client": (["user_client", USER, "x", NUMBER + 1], {}, "lives"),
    "user_client, another user": (["user_client", "x", APPLICATION, NUMBER + 1], {}, "lives"),
    "user_client, from after it": (["user_client", USER, APPLICATION, NUMBER], {}, "lives"),
    "session": (["session", SID], {}, "ended"),
    "session, another one": (["session", "x"], {}, "lives"),
    "session, without one": (["session", SID], WITHOUT_SID, "lives"),
    "session_expired": (["session_expired", SID], {}, "asks"),
    "session_expired, without a grant": (["session_expired", SID], WITHOUT_GRANT, "ended"),
    "session_expired, another one": (["session_expired", "x"], {}, "lives"),
    "grant": (["grant", GRANT], {}, "ended"),
    "grant, another one": (["grant", "x"], {}, "lives"),
    "grant, without one": (["grant", GRANT], WITHOUT_GRANT, "lives"),
    "client": (["client", APPLICATION, CLIENT_NUMBER + 1], {}, "ended"),
    "client, by client_id": (["client", APPLICATION, CLIENT_NUMBER + 1], BY_CLIENT_ID, "ended"),
    "client, a machine": (["client", APPLICATION, CLIENT_NUMBER + 1], MACHINE, "ended"),
    "client, deleted": (["client", APPLICATION, None], {"cfw": {}}, "ended"),
    "client, another one": (["client", "x", None], {}, "lives"),
    "client, from after it": (["client", APPLICATION, CLIENT_NUMBER], {}, "lives"),
    "client_users": (["client_users", APPLICATION, CLIENT_NUMBER + 1], {}, "ended"),
    "client_users, a machine": (["client_users", APPLICATION, CLIENT_NUMBER + 1], MACHINE, "lives"),
    "client_users, from after it": (["client_users", APPLICATION, CLIENT_NUMBER], {}, "lives"),
    "users": (["users", IAT], {"iat": IAT}, "asks"),
    "users, from after it": (["users", IAT], {"iat": IAT + 1}, "lives"),
    "users, a machine": (["users", IAT], {"iat": IAT, **MACHINE}, "lives"),
    "audience": (["audience", AUDIENCE, IAT], {"iat": IAT}, "ended"),
    "audience, from after it": (["audience", AUDIENCE, IAT], {"iat": IAT + 1}, "lives"),
    "audience, another one": (["audience", "x", IAT], {"iat": IAT}, "lives"),
    "signing_key": (["signing_key", "rs1"], {}, "ended"),
    "signing_key, another one": (["signing_key", "rs2"], {}, "lives"),
}


@pytest.fixture(params=ROWS.values(), ids=ROWS.keys())
def row(request):
    return request.param


@pytest.fixture(params=["by the feed", "by the snapshot"])
def told(request, curfew, heard, new_guard):
    """Makes a guard, shows it a token that lives, ends something, and answers the guard that knows."""

    def tell(token, cutoff, **options):
        guard = new_guard(**options).start()
        assert guard.wait_ready()
        alive = guard.check(token)
        assert (alive.ok, alive.status) == (True, 200)
        curfew.end(*cutoff, curfew.until())
        if request.param == "by the snapshot":
            guard = new_guard(**options).start()
            assert guard.wait_ready()
        heard(guard)
        return guard

    return tell


def test_a_token_lives_and_then(row, told, curfew):
    cutoff, claims, then = row
    token = curfew.token(**claims)
    guard = told(token, cutoff)
    curfew.inactive.add(token)
    result = guard.check(token)
    if then == "lives":
        assert result.ok
        assert result.claims["sub"]
        assert curfew.introspected == []
    else:
        assert (result.ok, result.status, result.error) == (False, 401, "invalid_token")
        assert result.challenge.startswith('Bearer error="invalid_token", error_description="')
        if "signing_key" not in cutoff:
            assert result.description == "The access token has ended."
        assert curfew.introspected == ([token] if then == "asks" else [])


def test_with_refuse_nothing_is_asked(row, told, curfew):
    cutoff, claims, then = row
    token = curfew.token(**claims)
    result = told(token, cutoff, stale="refuse").check(token)
    assert result.status == (200 if then == "lives" else 401)
    assert curfew.introspected == []


@pytest.mark.parametrize("active", [True, False])
def test_an_answer_is_kept_until_there_is_another_reason(guard, curfew, heard, active):
    token = curfew.token()
    if not active:
        curfew.inactive.add(token)
    curfew.end("user_families", USER, NUMBER + 1, curfew.until())
    heard(guard)
    for _ in range(3):
        assert guard.check(token).ok is active
    assert curfew.introspected == [token]
    curfew.inactive.add(token)
    curfew.end("user_families", USER, NUMBER + 2, curfew.until())
    heard(guard)
    assert guard.check(token).status == 401
    assert curfew.introspected == [token, token]


def test_whatever_ends_a_token_later_comes_before_a_kept_answer(guard, curfew, heard):
    token = curfew.token()
    curfew.end("session_expired", SID, curfew.until())
    heard(guard)
    assert guard.check(token).ok
    curfew.end("grant", GRANT, curfew.until())
    heard(guard)
    assert guard.check(token).status == 401


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_without_an_answer_a_token_is_not_taken(guard, curfew, heard, status):
    token = curfew.token()
    curfew.end("user_families", USER, NUMBER + 1, curfew.until())
    heard(guard)
    curfew.statuses["/oauth/introspect"] = status
    result = guard.check(token)
    assert (result.status, result.retry_after, result.challenge) == (503, 1, None)
    curfew.statuses.clear()
    # Not kept. After a 401 the guard first gets itself another token.
    eventually(lambda: guard.check(token).ok)

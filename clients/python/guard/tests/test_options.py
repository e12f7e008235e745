"""What a guard cannot be made with, what it shows of itself, and where it looks for tokens."""

import math

import pytest

from curfew_guard import Guard, GuardASGI, GuardWSGI
from curfew_guard.bearer import bearer_token
from fake_curfew import AUDIENCE

GOOD = {
    "issuer": "https://login.example/",
    "audience": AUDIENCE,
    "client_id": "id",
    "client_secret": "a secret",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "login.example"},
        {"issuer": "ftp://login.example/"},
        {"issuer": ""},
        {"audience": ""},
        {"client_secret": None},
        {"client_id": None},
        {"client_id": None, "client_secret": None},
        {"get_token": lambda: "token"},
        {"get_token": lambda: "token", "client_secret": None},
        {"lease_seconds": 0},
        {"lease_seconds": 61},
        {"lease_seconds": math.inf},
        {"lease_seconds": 1.5},
        {"lease_seconds": True},
        {"lease_seconds": None},
        {"stale": "allow"},
        {"clock_tolerance_seconds": -1},
        {"clock_tolerance_seconds": 31},
        {"clock_tolerance_seconds": math.nan},
        {"name": ""},
        {"name": "x" * 101},
    ],
    ids=str,
)
def test_what_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Guard(**{**GOOD, **wrong})


def test_what_is_taken():
    Guard(**GOOD, lease_seconds=1, clock_tolerance_seconds=0, name="x" * 100)
    Guard("https://login.example", AUDIENCE, get_token=lambda: "token", lease_seconds=60)


def test_nothing_shows_the_secret():
    assert "a secret" not in repr(Guard(**GOOD))
    assert AUDIENCE in repr(Guard(**GOOD))


@pytest.mark.parametrize("middleware", [GuardASGI, GuardWSGI])
@pytest.mark.parametrize("scopes", [["read things"], ['a"b'], [""], ["é"]])
def test_scopes_that_are_none(middleware, scopes):
    with pytest.raises(ValueError, match="not a scope"):
        middleware(None, Guard(**GOOD), scopes=scopes)


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic x", None),
        ("Bearerx y", None),
        ("Bearer x", "x"),
        (" bEARER  x ", "x"),
        ("Bearer x y", "x y"),
    ],
)
def test_the_header(authorization, token):
    assert bearer_token(authorization) == token

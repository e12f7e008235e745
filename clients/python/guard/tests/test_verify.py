"""Signature and claims: what is no access token of this issuer for this API."""

import base64
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fake_curfew import AUDIENCE, EC_KEY, OTHER_RSA_KEY, RSA_KEY, eventually

NOW = 1_795_219_500


def encoded(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def refused(guard, token, description):
    result = guard.check(token)
    assert (result.ok, result.status, result.error) == (False, 401, "invalid_token")
    assert result.claims is None
    assert result.description == description
    assert result.challenge == f'Bearer error="invalid_token", error_description="{description}"'


def test_a_good_token(guard, curfew):
    result = guard.check(curfew.token())
    assert (result.ok, result.status, result.challenge) == (True, 200, None)
    assert result.claims["sub"] == "auth0|someone"
    assert result.claims.scopes == ["read:things", "write:things"]
    assert guard.check(curfew.token(typ="at+jwt")).ok
    assert guard.check(curfew.token(aud=["https://other.example", AUDIENCE])).ok
    assert guard.check(curfew.token(scope=None)).claims.scopes == []


@pytest.mark.parametrize("token", [None, ""])
def test_no_token(guard, token):
    result = guard.check(token)
    assert (result.ok, result.status, result.error) == (False, 401, None)
    assert result.challenge == "Bearer"


HEADER = {"alg": "RS256", "kid": "rs1", "typ": "JWT"}
MALFORMED = [
    "x",
    "a.b",
    "a.b.c.d",
    "..",
    "é.é.é",
    "%%%.e30.x",
    "x" * 20_000,
    f"{encoded(b'not json')}.e30.x",
    f"{encoded(b'[' * 5000)}.e30.x",
    f"{encoded(['RS256'])}.e30.x",
    f"{encoded(HEADER | {'kid': None})}.e30.x",
    f"{encoded(HEADER | {'kid': 7})}.e30.x",
    f"{encoded({'alg': 'RS256', 'kid': 'rs1'})}.e30.x",
    f"{encoded({'kid': 'rs1', 'typ': 'JWT'})}.e30.x",
]


@pytest.mark.parametrize("token", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_token_at_all(guard, token):
    refused(guard, token, "The access token is malformed.")


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS384", "HS512", "ES256K", "RS1", ""])
def test_algorithms_that_are_refused(guard, alg):
    token = f"{encoded(HEADER | {'alg': alg})}.{encoded({'sub': 'x'})}."
    refused(guard, token, "The access token is signed with an algorithm that is refused.")


def test_the_public_key_is_no_shared_secret(guard, curfew):
    # The classic confusion: the issuer's public key, used as the secret of an HMAC, under its kid.
    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded(HEADER | {'alg': 'HS256'})}.{curfew.token().split('.')[1]}"
    mac = hmac.digest(secret, signed.encode(), "sha256")
    token = f"{signed}.{encoded(mac)}"
    refused(guard, token, "The access token is signed with an algorithm that is refused.")


@pytest.mark.parametrize("more", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_headers_that_are_not_understood(guard, more):
    token = f"{encoded(HEADER | more)}.e30.x"
    refused(guard, token, "The access token has a header that is not understood.")


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", ""])
def test_other_kinds_of_tokens(guard, curfew, typ):
    token = f"{encoded(HEADER | {'typ': typ})}.e30.x"
    refused(guard, token, "The token is not an access token.")


def test_another_algorithm_than_that_of_the_key(guard, curfew):
    token = curfew.token(alg="PS256")
    refused(guard, token, "The access token is signed with an algorithm that its key is not for.")


def test_signatures(guard, curfew):
    wrong = "The signature of the access token is not valid."
    refused(guard, curfew.token(key=OTHER_RSA_KEY), wrong)
    head, _, signature = curfew.token().split(".")
    refused(guard, f"{head}.{encoded({'sub': 'admin'})}.{signature}", wrong)
    refused(guard, f"{head}.{encoded({'sub': 'admin'})}.", wrong)


def test_an_elliptic_key(new_guard, curfew):
    curfew.keys["es1"] = EC_KEY
    guard = new_guard().start()
    assert guard.wait_ready()
    assert guard.check(curfew.token(key=EC_KEY, alg="ES256", kid="es1")).ok
    wrong = "The access token is signed with an algorithm that its key is not for."
    refused(guard, curfew.token(key=RSA_KEY, kid="es1"), wrong)


CLAIMS = [
    ({"iss": "https://other.example/"}, "The access token is of another issuer."),
    ({"iss": None}, "The access token is of another issuer."),
    ({"aud": "https://other.example"}, "The access token is for another audience."),
    ({"aud": ["https://other.example"]}, "The access token is for another audience."),
    ({"aud": {AUDIENCE: 1}}, "The access token is for another audience."),
    ({"aud": None}, "The access token is for another audience."),
    ({"exp": NOW - 5}, "The access token has expired."),
    ({"exp": 0}, "The access token has expired."),
    ({"iat": NOW + 6}, "The access token is not valid yet."),
    ({"nbf": NOW + 6}, "The access token is not valid yet."),
    ({"exp": None}, "The access token is malformed."),
    ({"iat": None}, "The access token is malformed."),
    ({"exp": str(NOW + 60)}, "The access token is malformed."),
    ({"exp": True}, "The access token is malformed."),
    ({"exp": 10**400}, "The access token is malformed."),
    ({"exp": float("inf")}, "The access token is malformed."),
    ({"iat": float("nan")}, "The access token is malformed."),
    ({"nbf": "now"}, "The access token is malformed."),
]


@pytest.mark.parametrize(("claims", "description"), CLAIMS, ids=range(len(CLAIMS)))
def test_claims(guard, curfew, claims, description):
    # PyJWT refuses to write some of these, so the bytes are signed as they are.
    good = jwt.decode(curfew.token(), options={"verify_signature": False})
    bad = {name: value for name, value in {**good, **claims}.items() if value is not None}
    token = jwt.PyJWS().encode(
        json.dumps(bad).encode(), RSA_KEY, algorithm="RS256", headers={"kid": "rs1"}
    )
    refused(guard, token, description)


@pytest.mark.parametrize("payload", [b"[]", b"null", b"not json", b"[" * 5000, b"\xff"])
def test_signed_nonsense(guard, payload):
    token = jwt.PyJWS().encode(payload, RSA_KEY, algorithm="RS256", headers={"kid": "rs1"})
    refused(guard, token, "The access token is malformed.")


def test_the_tolerance(guard, new_guard, curfew):
    assert guard.check(curfew.token(exp=NOW - 4)).ok
    assert guard.check(curfew.token(iat=NOW + 5)).ok
    strict = new_guard(clock_tolerance_seconds=0).start()
    assert strict.wait_ready()
    assert strict.check(curfew.token(exp=NOW - 4)).status == 401
    assert strict.check(curfew.token(iat=NOW + 5)).status == 401


def test_scopes(guard, curfew):
    token = curfew.token()
    assert guard.check(token, ["read:things"]).ok
    assert guard.check(token, "read:things write:things").ok
    result = guard.check(token, ["read:things", "delete:things"])
    assert (result.ok, result.status, result.error) == (False, 403, "insufficient_scope")
    wanted = 'Bearer error="insufficient_scope", scope="read:things delete:things"'
    assert result.challenge == wanted
    assert guard.check(curfew.token(scope=None), "read:things").status == 403
    assert guard.check(curfew.token(scope=["read:things"]), "read:things").status == 403
    with pytest.raises(ValueError, match="not a scope"):
        guard.check(token, ['read"things'])


# ---- The keys


def test_an_unknown_kid_is_looked_up_at_most_once_in_thirty_seconds(guard, curfew, clock):
    unknown = "The access token is signed with an unknown key."
    curfew.keys["rs2"] = OTHER_RSA_KEY
    assert guard.check(curfew.token(key=OTHER_RSA_KEY, kid="rs2")).ok, "a new key is found"
    assert curfew.requests["/.well-known/jwks.json"] == 2
    for number in range(5):
        refused(guard, curfew.token(kid=f"made-up-{number}"), unknown)
    assert curfew.requests["/.well-known/jwks.json"] == 2
    clock.advance(29)
    refused(guard, curfew.token(kid="made-up"), unknown)
    assert curfew.requests["/.well-known/jwks.json"] == 2
    clock.advance(1)
    refused(guard, curfew.token(kid="made-up"), unknown)
    assert curfew.requests["/.well-known/jwks.json"] == 3
    assert guard.check(curfew.token()).ok


def test_a_jwks_that_cannot_be_had_takes_no_known_key_away(guard, curfew):
    curfew.statuses["/.well-known/jwks.json"] = 500
    assert guard.check(curfew.token(kid="made-up")).status == 401
    assert guard.check(curfew.token()).ok


def test_without_any_keys_nothing_is_decided(new_guard, curfew):
    curfew.statuses["/.well-known/jwks.json"] = 500
    guard = new_guard()
    assert guard.check(curfew.token()).status == 503
    curfew.statuses.clear()
    assert guard.wait_ready()
    assert guard.check(curfew.token()).ok


def test_a_revoked_key_stays_refused_when_its_cutoff_is_dropped(guard, curfew, clock, heard):
    forged = curfew.token(exp=NOW + 10_000_000)
    assert guard.check(forged).ok
    curfew.end("signing_key", "rs1", NOW + 100)
    heard(guard)
    refused(guard, forged, "The access token is signed with an unknown key.")
    clock.advance(1000)
    eventually(lambda: guard.status().cutoffs == 0)
    refused(guard, forged, "The access token is signed with an unknown key.")
    # Also where a cache between still has the old set.
    clock.advance(1000)
    refused(guard, forged, "The access token is signed with an unknown key.")

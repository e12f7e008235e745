"""The signature and the claims of an access token."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any, NamedTuple, NoReturn

import jwt

from .result import Claims

# RFC 8725 §3.1: what is not here is refused, above all `none` and everything that a shared secret signs.
ALGORITHMS = frozenset(
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)
_TYPES = frozenset(["jwt", "at+jwt", "application/at+jwt"])
_TOKEN_BYTES_MAX = 1 << 14
_JWS = jwt.PyJWS(algorithms=sorted(ALGORITHMS))


class InvalidToken(Exception):
    """The token is none of ours, or of another time or place. The text may be told to its bearer."""


class Header(NamedTuple):
    """What of a token's header decides; the signature is not checked yet."""

    alg: str
    kid: str


def read_header(token: str) -> Header:
    """The header of a token that may be one of ours."""
    if len(token) > _TOKEN_BYTES_MAX or token.count(".") != 2:
        raise InvalidToken("The access token is malformed.")
    try:
        encoded = token.partition(".")[0].encode("ascii")
        padded = encoded + b"=" * (-len(encoded) % 4)
        header = _read_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise InvalidToken("The access token is malformed.") from None
    match header:
        # RFC 7515 §4.1.11: what is critical and not understood. None of our tokens has anything critical.
        case {"crit": _} | {"b64": _}:
            raise InvalidToken("The access token has a header that is not understood.")
        case {"alg": str(alg), "kid": str(kid), "typ": str(typ)}:
            if alg not in ALGORITHMS:
                raise InvalidToken("The access token is signed with an algorithm that is refused.")
            if typ.lower() not in _TYPES:
                raise InvalidToken("The token is not an access token.")
            return Header(alg, kid)
    raise InvalidToken("The access token is malformed.")


def read_claims(
    token: str,
    header: Header,
    key: jwt.PyJWK,
    *,
    issuer: str,
    audience: str,
    now: float,
    tolerance_seconds: float,
) -> Claims:
    """The claims, once the signature, `iss`, `aud`, `exp` and `iat` have been found right."""
    if header.alg != key.algorithm_name:
        raise InvalidToken("The access token is signed with an algorithm that its key is not for.")
    try:
        payload = _JWS.decode_complete(token, key=key.key, algorithms=[header.alg])["payload"]
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken("The signature of the access token is not valid.") from None
    try:
        claims = _read_json(payload)
    except (ValueError, RecursionError):
        raise InvalidToken("The access token is malformed.") from None
    if not isinstance(claims, dict):
        raise InvalidToken("The access token is malformed.")
    if claims.get("iss") != issuer:
        raise InvalidToken("The access token is of another issuer.")
    meant_for = claims.get("aud")
    if meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        raise InvalidToken("The access token is for another audience.")
    expires, issued = _instant(claims.get("exp")), _instant(claims.get("iat"))
    not_before = claims.get("nbf")
    if now >= expires + tolerance_seconds:
        raise InvalidToken("The access token has expired.")
    if issued > now + tolerance_seconds or (
        not_before is not None and _instant(not_before) > now + tolerance_seconds
    ):
        raise InvalidToken("The access token is not valid yet.")
    return Claims(claims)


def expiry_of(token: str) -> float | None:
    """The `exp` of a token that nobody checks here, because it is the guard's own."""
    try:
        encoded = token.split(".")[1].encode("ascii")
        claims = _read_json(base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
        return _instant(claims["exp"])
    except (InvalidToken, ValueError, TypeError, LookupError, RecursionError):
        return None


def _instant(value: Any) -> float:
    # A whole number that no float holds is not a time either.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e15:
        raise InvalidToken("The access token is malformed.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is none")
    return number


# Made once: a decoder with rules of its own is otherwise made anew for each text.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _read_json(text: bytes) -> Any:
    return _DECODER.decode(text.decode())

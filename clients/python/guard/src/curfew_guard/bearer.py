"""The access token of a request (RFC 6750 §2.1)."""

from __future__ import annotations


def bearer_token(authorization: str | None) -> str | None:
    """What stands behind `Bearer`; None where the header is missing or of another scheme.

    A token in the query or in a form is not looked for: it would end up in logs.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None

"""What a check answers, and the refusals of the guard's contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# RFC 6749 §3.3: what a scope is made of; no space and no quotation mark, so it can stand in a challenge.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class Claims(dict[str, Any]):
    """The claims of an accepted token.

    With `scopes` it also serves as what Starlette calls `request.auth`, so its `requires` decorator works.
    """

    @property
    def scopes(self) -> list[str]:
        """The scopes that the token grants."""
        scope = self.get("scope")
        return scope.split() if isinstance(scope, str) else []


@dataclass(frozen=True)
class CheckResult:
    """Whether a request may pass, and if not, what to answer.

    `status`, `challenge` (for `WWW-Authenticate`) and `retry_after` (for `Retry-After`, in seconds) are those of the
    refusal; `error` and `description` may be told to the caller. An accepted token has `ok`, 200 and its `claims`.
    """

    ok: bool
    status: int
    claims: Claims | None = None
    error: str | None = None
    description: str | None = None
    challenge: str | None = None
    retry_after: int | None = None

    def render(self) -> tuple[list[tuple[str, str]], bytes]:
        """The headers and the body of a refusal. The body names its error; where there is none it is empty."""
        headers = [("Cache-Control", "no-store")]
        if self.challenge is not None:
            headers.append(("WWW-Authenticate", self.challenge))
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        body = b""
        if self.error is not None:
            told = {"error": self.error, "error_description": self.description}
            body = json.dumps(told).encode()
            headers.append(("Content-Type", "application/json"))
        headers.append(("Content-Length", str(len(body))))
        return headers, body


# RFC 6750 §3.1: to a request without a token the challenge names no error.
NO_TOKEN = CheckResult(
    ok=False,
    status=401,
    description="No access token was sent.",
    challenge="Bearer",
)

UNAVAILABLE = CheckResult(
    ok=False,
    status=503,
    error="temporarily_unavailable",
    description="Whether the access token has ended cannot be known now.",
    retry_after=1,
)


def accepted(claims: Claims) -> CheckResult:
    """The request may pass."""
    return CheckResult(ok=True, status=200, claims=claims)


def invalid_token(description: str) -> CheckResult:
    """RFC 6750 §3.1 for a token that is not valid, has expired or has ended."""
    return CheckResult(
        ok=False,
        status=401,
        error="invalid_token",
        description=description,
        challenge=f'Bearer error="invalid_token", error_description="{description}"',
    )


ENDED = invalid_token("The access token has ended.")
# Where the server would have to be asked, and shall not be.
UNDECIDED = invalid_token("Whether the access token has ended is not known here.")


def insufficient_scope(scopes: tuple[str, ...]) -> CheckResult:
    """RFC 6750 §3.1; `scopes` are all that the request needs."""
    return CheckResult(
        ok=False,
        status=403,
        error="insufficient_scope",
        description="The access token lacks a scope that this request needs.",
        challenge=f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"',
    )


def required_scopes(scopes: str | Iterable[str]) -> tuple[str, ...]:
    """The scopes that an application names, as a list or with spaces between them."""
    named = tuple(scopes.split() if isinstance(scopes, str) else scopes)
    for scope in named:
        if not _SCOPE.fullmatch(scope):
            raise ValueError(f"{scope!r} is not a scope")
    return named

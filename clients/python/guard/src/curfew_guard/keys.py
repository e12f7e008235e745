"""The issuer's keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future

import jwt

from .clock import Clock
from .verify import ALGORITHMS

# A kid that is not known makes the guard look again, at most once in this time.
_REFETCH_SECONDS = 30.0
# As long as there are no keys at all, nothing can be checked, and it is tried more often.
_FIRST_FETCH_SECONDS = 1.0
_KEYS_MAX = 1000


class Keys:
    """The public keys of the issuer's JWKS (RFC 7517), by `kid`."""

    def __init__(self, fetch: Callable[[], bytes], clock: Clock, executor: Executor) -> None:
        self._fetch = fetch
        self._clock = clock
        self._executor = executor
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._withdrawn: set[str] = set()
        self._fetched_at: float | None = None
        self._under_way: Future[None] | None = None
        self.are_loaded = False

    def get(self, kid: str) -> jwt.PyJWK | None:
        """The key of that name, from memory."""
        return self._keys.get(kid)

    def fetch(self) -> Future[None] | None:
        """Fetches the keys because one is missing; None if that was tried just now. Many callers share one fetch."""
        with self._lock:
            if self._under_way is not None:
                return self._under_way
            pause = _REFETCH_SECONDS if self.are_loaded else _FIRST_FETCH_SECONDS
            if self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < pause:
                return None
            self._fetched_at = self._clock.monotonic()
            try:
                self._under_way = self._executor.submit(self._try_to_load)
            except RuntimeError:
                # Closed meanwhile.
                return None
            return self._under_way

    def load(self) -> None:
        """Fetches the keys on this thread, whatever happened before; raises what the fetch raises."""
        read = read_jwks(self._fetch())
        with self._lock:
            self._withdrawn &= read.keys()
            self._keys = {kid: key for kid, key in read.items() if kid not in self._withdrawn}
            self.are_loaded = True

    def withdraw(self, kid: str) -> None:
        """The key has been revoked: it stays refused after its cutoff is dropped, for who has it can write any `exp`."""
        with self._lock:
            self._withdrawn.add(kid)
            self._keys = {known: key for known, key in self._keys.items() if known != kid}

    def _try_to_load(self) -> None:
        try:
            self.load()
        except Exception:
            # The one who waits looks for the key again, and finds none.
            return
        finally:
            with self._lock:
                self._under_way = None


def read_jwks(text: bytes) -> dict[str, jwt.PyJWK]:
    """The keys that can verify; others in the set are of no use to a guard. `ValueError` if it is no JWKS."""
    try:
        listed = json.loads(text)["keys"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError("the issuer's JWKS cannot be read") from None
    if not isinstance(listed, list):
        raise ValueError("the issuer's JWKS cannot be read")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in listed[:_KEYS_MAX]:
        match entry:
            case {"kid": str(kid), "kty": "RSA" | "EC" | "OKP"} if entry.get("use", "sig") == "sig":
                # What is public verifies; a private key that strayed in here is not used.
                public = {name: value for name, value in entry.items() if name != "d"}
                try:
                    key = jwt.PyJWK(public)
                except (jwt.PyJWTError, ValueError, TypeError):
                    continue
                if key.algorithm_name in ALGORITHMS:
                    keys[kid] = key
    return keys

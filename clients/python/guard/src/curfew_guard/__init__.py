"""Refuses access tokens whose access has ended at Curfew, within milliseconds and without asking."""

from .asgi import AccessEnded, GuardASGI
from .guard import Guard, GuardStatus
from .result import CheckResult, Claims
from .wsgi import GuardWSGI

__all__ = [
    "AccessEnded",
    "CheckResult",
    "Claims",
    "Guard",
    "GuardASGI",
    "GuardStatus",
    "GuardWSGI",
]
__version__ = "0.1.0"

"""Guards of `clients/python/guard`, as many as are asked for, driven by lines of JSON: one question, one answer.

They follow the real feed over a socket. What the time is says whoever asks; nothing grows old by itself.
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

from curfew_guard import Guard

ISSUER, ADDRESS = sys.argv[1], sys.argv[2].rsplit(":", 1)
DEADLINE_SECONDS = 30.0

look_up = socket.getaddrinfo


def look_up_nearby(host, port, *more, **named):
    """The issuer is served here."""
    if host == urlsplit(ISSUER).hostname:
        host, port = ADDRESS[0], int(ADDRESS[1])
    return look_up(host, port, *more, **named)


socket.getaddrinfo = look_up_nearby


class Told:
    """The time as it was told."""

    seconds = 0.0

    def monotonic(self):
        return self.seconds

    def wall(self):
        return self.seconds


clock = Told()
guards = {}


def is_up_to_date(guard, heads, is_lost):
    status = guard.status()
    if not status.trusted:
        return is_lost
    lanes = [int(lane) for lane in status.position.split(".")]
    return all(lane >= head for lane, head in zip(lanes, heads, strict=False))


def judge(name, token, heads, isLost):
    """What the guard says of a token once it has heard everything up to `heads`. One that is lost never may."""
    guard = guards[name]
    end = time.monotonic() + DEADLINE_SECONDS
    while not is_up_to_date(guard, heads, isLost):
        if time.monotonic() > end:
            return {"fault": "it did not hear", "status": repr(guard.status())}
        time.sleep(0.002)
    result = guard.check(token)
    return {"status": result.status, "description": result.description}


def follow(name, audience, clientId, clientSecret):
    guards[name] = Guard(ISSUER, audience, clientId, clientSecret, name=name, clock=clock).start()
    return {}


for line in sys.stdin:
    question = json.loads(line)
    clock.seconds = question.pop("now")
    answer = judge(**question) if "token" in question else follow(**question)
    print(json.dumps(answer), flush=True)

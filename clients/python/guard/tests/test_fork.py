"""A guard that was started before a fork, as with `gunicorn --preload`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake_curfew import AUDIENCE, CLIENT_ID, CLIENT_SECRET, NUMBER, USER

SCRIPT = """
import os, sys, threading
from curfew_guard import Guard

issuer, audience, client_id, secret, wall, token = sys.argv[1:]

class Clock:
    def monotonic(self): return 0.0
    def wall(self): return float(wall)

guard = Guard(issuer, audience, client_id, secret, clock=Clock())
guard.start()
assert guard.wait_ready()
assert guard.check(token).ok

def told(who):
    line = f"{who} {guard.wait_ready()} {guard.check(token).status}"
    # Both processes write to the same pipe.
    os.write(1, (line + "\\n").encode())

# With the lock held at that very moment by a thread that does not come along.
held, let_go = threading.Event(), threading.Event()
def hold():
    with guard._lock:
        held.set()
        let_go.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    told("child")
    grandchild = os.fork()
    if grandchild == 0:
        told("grandchild")
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    told("child")
    guard.close()
    os._exit(0)
let_go.set()
assert os.waitpid(child, 0)[1] == 0
told("parent")
guard.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_every_process_has_its_own_feed(curfew):
    arguments = [curfew.issuer, AUDIENCE, CLIENT_ID, CLIENT_SECRET, str(curfew.clock.wall())]
    # A process with threads that forks is what is tested here; later Pythons warn of it.
    run = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", SCRIPT, *arguments, curfew.token()],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "child True 200",
        "grandchild True 200",
        "child True 200",
        "parent True 200",
    ]
    assert curfew.requests["/endings/snapshot"] == 3
    assert len(curfew.issued) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_hears_of_endings(guard, curfew, heard):
    token = curfew.token()
    assert guard.check(token).ok
    # In this process, what a fork does to a guard in the child.
    guard._forked()
    curfew.end("user", USER, NUMBER + 1, curfew.until())
    assert guard.wait_ready()
    heard(guard)
    assert guard.check(token).status == 401
    assert curfew.requests["/endings/snapshot"] == 2
    for inherited in guard._inherited:
        inherited.stop()

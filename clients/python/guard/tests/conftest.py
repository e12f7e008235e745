import pytest

from curfew_guard import Guard
from curfew_guard.server import Server
from fake_curfew import (
    AUDIENCE,
    CLIENT_ID,
    CLIENT_SECRET,
    FakeClock,
    FakeCurfew,
    eventually,
)


@pytest.fixture(autouse=True)
def ready_in_time(monkeypatch):
    """A machine may have other things to do than to make guards ready."""
    monkeypatch.setattr(Guard.wait_ready, "__defaults__", (30.0,))


@pytest.fixture
def patient(monkeypatch):
    """For tests of what hangs and not of how long: two seconds may be too short for them to look."""
    monkeypatch.setattr("curfew_guard.guard._ASK_SECONDS", 60.0)
    monkeypatch.setattr(Server._ask, "__defaults__", (60.0,))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def curfew(clock):
    fake = FakeCurfew(clock)
    yield fake
    fake.close()


@pytest.fixture
def new_guard(curfew, clock):
    """Makes guards before the fake Curfew; they are closed in the end."""
    guards = []

    def make(**options):
        credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        if "get_token" in options:
            credentials = {}
        guard = Guard(
            curfew.issuer, AUDIENCE, **{"clock": clock, "name": "tests", **credentials, **options}
        )
        guards.append(guard)
        return guard

    yield make
    # So that nobody waits for an answer that the test held back.
    curfew.hanging.clear()
    for guard in guards:
        guard.close()


@pytest.fixture
def guard(new_guard):
    """A guard that is ready."""
    made = new_guard().start()
    assert made.wait_ready()
    return made


@pytest.fixture
def heard(curfew):
    """Waits until a guard has applied everything that has ended."""
    return lambda guard: eventually(lambda: guard.status().position == curfew.position())

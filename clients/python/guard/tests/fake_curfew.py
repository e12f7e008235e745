"""A Curfew for tests: it speaks the protocol of docs/guards.md, and misbehaves when it is told to."""

import contextlib
import gzip
import http.server
import json
import queue
import threading
import time
import uuid
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "https://api.example.com/orders"
CLIENT_ID = "guardClient000000000000000000000"
CLIENT_SECRET = "known-to-the-tests-and-to-nobody-else"

# What a token has unless a test says otherwise.
USER = "AQEBAQEBAQEBAQEB"
NUMBER = 1_795_219_200_000_000
CLIENT_NUMBER = 7
GRANT = "AwMDAwMDAwMDAwMD"
SID = "sidsidsidsidsidsidsidsidsidsid01"
APPLICATION = "applicationClient000000000000000"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@contextlib.contextmanager
def stopwatch():
    """For what must not take long: hands out a function that says how many seconds went by while this process ran.

    On a machine that has other things to do ticks come late and are fewer, so that such a time is never longer than it
    seemed to the process.
    """
    ticks, stopped = [], threading.Event()

    def tick():
        while not stopped.wait(0.02):
            ticks.append(None)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield lambda: len(ticks) * 0.02
    finally:
        stopped.set()
        thread.join()


def eventually(holds, seconds=30.0):
    """Waits for another thread: until `holds()` answers something true, which is handed back.

    What must happen has long for it, because a machine may have other things to do.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)


class FakeClock:
    """A clock that tests move. Both its hands stand still otherwise."""

    def __init__(self, wall=1_795_219_500.0):
        self._monotonic = 1000.0
        self._wall = wall

    def monotonic(self):
        return self._monotonic

    def wall(self):
        return self._wall

    def advance(self, seconds):
        """Time passes."""
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, seconds):
        """Somebody sets the time of day, or the machine sleeps: the other hand does not notice."""
        self._wall += seconds


class _Stream:
    """One open feed."""

    def __init__(self, token):
        self.name = uuid.uuid4().hex
        self.token = token
        self.events = queue.Queue()
        self.connection = None

    def put(self, event, data):
        self.events.put(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())


# The number of its feed.
FEED = 7


class FakeCurfew:
    """The server. Switches are plain attributes; `end` ends something."""

    def __init__(self, clock, lanes=3):
        self.clock = clock
        self.heads = [0] * lanes
        self.ended = []
        self.lock = threading.RLock()
        self.streams = {}
        self.requests = Counter()
        self.probes = []
        self.activity = []
        self.feed_positions = []
        self.introspected = []
        self.inactive = set()
        self.issued = []
        self.valid = set()
        self.keys = {"rs1": RSA_KEY}
        self.stopping = threading.Event()
        # Switches
        self.down = False
        self.hanging = set()
        self.statuses = {}
        self.echoes = True
        self.other_node = False
        self.held_back = False
        self.probe_seconds = 0.02
        self.token_seconds = 3600
        self.snapshot_count_off_by = 0
        self.snapshot_issuer = None
        self.kept_back = []

        fake = self

        class Handler(_Handler):
            curfew = fake

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()

    def close(self):
        self.stopping.set()
        self.cut()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # ---- What tests do to it

    def end(self, *cutoff, lane=1):
        """Ends something: into the feed, and into every later snapshot. Answers its position in the lane."""
        with self.lock:
            self.heads[lane] += 1
            entry = {
                "cutoff": list(cutoff),
                "lane": lane,
                "position": self.heads[lane],
                "ending_id": uuid.uuid4().hex,
                "cause": "user_blocked",
                "at": "2026-11-22T10:42:07.000Z",
            }
            self.ended.append(entry)
            for stream in self.streams.values():
                self.send(stream, "ending", entry)
            return self.heads[lane]

    def send(self, stream, event, data):
        if self.held_back:
            self.kept_back.append((stream, event, data))
        else:
            stream.put(event, data)

    def let_go(self):
        """What was held back arrives now."""
        with self.lock:
            self.held_back = False
            for stream, event, data in self.kept_back:
                stream.put(event, data)
            self.kept_back = []

    def cut(self):
        """Every stream breaks off in the middle."""
        with self.lock:
            for stream in self.streams.values():
                stream.events.put(None)

    def end_streams(self, reason):
        """Every stream ends in order."""
        with self.lock:
            for stream in self.streams.values():
                stream.put("end", {"reason": reason})
                stream.events.put(None)

    def expire_tokens(self):
        """No guard's token that was issued up to now is valid any more."""
        with self.lock:
            self.valid.clear()
            self.end_streams("token_expired")

    def position(self):
        return ".".join(map(str, [*self.heads, FEED]))

    def until(self):
        """When no token can be alive any more that lives today."""
        return int(self.clock.wall()) + 86_400

    def jwks(self):
        keys = []
        for kid, key in self.keys.items():
            public = key.public_key()
            is_rsa = isinstance(public, rsa.RSAPublicKey)
            algorithm = jwt.get_algorithm_by_name("RS256" if is_rsa else "ES256")
            jwk = algorithm.to_jwk(public, as_dict=True)
            keys.append({**jwk, "kid": kid, "use": "sig", "alg": "RS256" if is_rsa else "ES256"})
        return {"keys": keys}

    def token(self, key=RSA_KEY, alg="RS256", kid="rs1", typ="JWT", **claims):
        """An access token of this issuer. A claim that is None is left out."""
        now = int(self.clock.wall())
        all_claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "auth0|someone",
            "iat": now - 60,
            "exp": now + 86_400,
            "azp": APPLICATION,
            "scope": "read:things write:things",
            "jti": uuid.uuid4().hex,
            "sid": SID,
            "cfw": {"u": USER, "n": NUMBER, "c": CLIENT_NUMBER, "g": GRANT},
            **claims,
        }
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(kept, key, algorithm=alg, headers={"kid": kid, "typ": typ})


class _Handler(http.server.BaseHTTPRequestHandler):
    """The endpoints. Each is a method by its path."""

    protocol_version = "HTTP/1.1"
    # Heads and bodies in one packet: otherwise each answer waits for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    curfew = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.dispatch()

    def do_POST(self):
        self.dispatch()

    def dispatch(self):
        path = urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        with self.curfew.lock:
            self.curfew.requests[path] += 1
        while path in self.curfew.hanging and not self.curfew.stopping.wait(0.01):
            pass
        if self.curfew.down or self.curfew.stopping.is_set():
            self.close_connection = True
            return
        status = self.curfew.statuses.get(path)
        if status is not None:
            self.answer(status, {"error": "of_the_test"})
            return
        try:
            {
                "/.well-known/jwks.json": self.get_jwks,
                "/oauth/token": self.post_token,
                "/oauth/introspect": self.post_introspect,
                "/endings/snapshot": self.get_snapshot,
                "/endings/feed": self.get_feed,
                "/endings/probe": self.post_probe,
            }[path]()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def is_authorized(self):
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        with self.curfew.lock:
            if scheme == "Bearer" and token in self.curfew.valid:
                return True
        challenge = 'Bearer error="invalid_token"'
        self.answer(401, {"error": "invalid_token"}, [("WWW-Authenticate", challenge)])
        return False

    def get_jwks(self):
        self.answer(200, self.curfew.jwks())

    def post_token(self):
        form = {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
        wanted = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "audience": AUDIENCE,
        }
        if form != wanted:
            self.answer(401, {"error": "access_denied"})
            return
        token = f"guard-{uuid.uuid4().hex}"
        with self.curfew.lock:
            self.curfew.issued.append(token)
            self.curfew.valid.add(token)
        expires_in = self.curfew.token_seconds
        self.answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": expires_in})

    def post_introspect(self):
        if not self.is_authorized():
            return
        token = parse_qs(self.body.decode())["token"][0]
        with self.curfew.lock:
            self.curfew.introspected.append(token)
            active = token not in self.curfew.inactive
        self.answer(200, {"active": active})

    def get_snapshot(self):
        if not self.is_authorized():
            return
        with self.curfew.lock:
            lines = [
                {
                    "position": self.curfew.position(),
                    "issuer": self.curfew.snapshot_issuer or self.curfew.issuer,
                    "cutoffs": len(self.curfew.ended) + self.curfew.snapshot_count_off_by,
                }
            ]
            lines += [entry["cutoff"] for entry in self.curfew.ended]
        body = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
        assert "gzip" in self.headers["Accept-Encoding"]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def get_feed(self):
        if not self.is_authorized():
            return
        text = parse_qs(urlsplit(self.path).query)["position"][0]
        begin = [int(lane) for lane in text.split(".")]
        stream = _Stream(self.headers["Authorization"].partition(" ")[2])
        with self.curfew.lock:
            self.curfew.feed_positions.append(text)
            heads = [*self.curfew.heads, FEED]
            known = len(begin) == len(heads) and all(map(lambda a, b: a <= b, begin, heads))
            if known:
                hello = {"stream": stream.name, "node": "n1", "position": text}
                stream.put("hello", {**hello, "probe_seconds": self.curfew.probe_seconds})
                for entry in self.curfew.ended:
                    if entry["position"] > begin[entry["lane"]]:
                        self.curfew.send(stream, "ending", entry)
                self.curfew.streams[stream.name] = stream
        if not known:
            self.answer(410, {"error": "position_unknown"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while (event := stream.events.get()) is not None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.flush()
        finally:
            # Without the chunk that would end it in order.
            self.close_connection = True
            with self.curfew.lock:
                del self.curfew.streams[stream.name]

    def post_probe(self):
        if not self.is_authorized():
            return
        probe = json.loads(self.body)
        with self.curfew.lock:
            self.curfew.probes.append(probe)
            self.curfew.activity += probe.get("activity", [])
            stream = self.curfew.streams.get(probe["stream"])
            position = self.curfew.position()
        if self.curfew.other_node or stream is None:
            self.answer(200, {"position": position})
            return
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        with self.curfew.lock:
            if self.curfew.echoes:
                echo = {"probe": probe["probe"], "position": self.curfew.position()}
                self.curfew.send(stream, "echo", echo)

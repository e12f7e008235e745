// Follows the feed: snapshot, stream, probes; and all of it again when something breaks.

import { instant } from './clock.js';
import { GuardError, protocolError } from './errors.js';
import { formatPosition, parsePosition } from './position.js';
import { Stream } from './stream.js';
import { parseJson } from './server.js';

const FIRST_WAIT_MS = 100;
const WAIT_MS_MAX = 5_000;
/** A server whose endings do not fit into this guard's memory is asked again after this. */
const TOO_MANY_WAIT_MS = 60_000;
const CUTOFFS_MAX = 4_000_000;
const PROBES_IN_FLIGHT_MAX = 3;
/** Probes whose echo may still come. More than the longest lease has seconds. */
const PROBES_PENDING_MAX = 64;
/** A comment comes every 15 seconds of silence. */
const SILENCE_MS = 20_000;
/** Probes may stay without an echo for so long, at least, before the stream is opened anew. */
const ECHO_MS = 3_000;

/** How long to wait before the `attempt`-th reconnection: anything up to a limit that doubles. */
export const reconnectWaitMs = (attempt, random) =>
  random() * Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** Math.min(attempt, 10));

export class Follower {
  #issuer;
  #server;
  #credentials;
  #keys;
  #view;
  #activity;
  #announcement;
  #clock;
  #random;
  #onChange;
  #signal;

  /** The streams that are open; more than one only while the token is renewed. */
  #streams = new Set();
  /** The newest that said hello: probes name it. */
  #current = null;
  #attempt = 0;
  #snapshotPending = null;
  #ticker = null;
  #tickerSeconds = 0;
  #probeNumber = 0;
  #probesInFlight = 0;
  /** Probes by their number: `{sent, stream, accepted, position}`, the oldest first. */
  #pending = new Map();
  #renewing = false;
  #renewAfter = 0;
  #failures = 0;
  #wakeUp = null;

  /** What keeps the view from being fresh, for the operator; null when nothing does. */
  problem = null;
  /** For ever: a cutoff came that this version does not understand. */
  isBlind = false;
  snapshots = 0;
  connections = 0;

  /** `onChange` is called when there may be something new to tell; `signal` ends everything. */
  constructor({ issuer, server, credentials, keys, view, activity, announcement, clock, random, onChange, signal }) {
    this.#issuer = issuer;
    this.#server = server;
    this.#credentials = credentials;
    this.#keys = keys;
    this.#view = view;
    this.#activity = activity;
    this.#announcement = announcement;
    this.#clock = clock;
    this.#random = random;
    this.#onChange = onChange;
    this.#signal = signal;
  }

  get isConnected() {
    return this.#current !== null && !this.#current.isEnded;
  }

  get node() {
    return this.#current?.node ?? null;
  }

  start() {
    this.#signal.addEventListener('abort', () => this.#stop('closed'), { once: true });
    this.#tickEvery(1);
    this.#keys.refresh();
    this.#follow();
  }

  // ---- Connecting

  async #follow() {
    while (this.#isWanted) {
      let waitMs;
      try {
        await this.#open();
        await this.#allLost();
        waitMs = reconnectWaitMs(this.#attempt, this.#random);
      } catch (error) {
        this.#note(error);
        waitMs = error.code === 'too_many' ? TOO_MANY_WAIT_MS : reconnectWaitMs(this.#attempt, this.#random);
      }
      this.#attempt += 1;
      if (this.#isWanted) await this.#sleep(waitMs);
    }
  }

  get #isWanted() {
    return !this.#signal.aborted && !this.isBlind;
  }

  /** Opens a stream at the position that the view has, and makes it the current one. Fails before its hello. */
  async #open() {
    const token = await this.#credentials.get();
    try {
      if (!this.#view.position) await this.#loadSnapshot(token);
      const controller = new AbortController();
      const abort = () => controller.abort(this.#signal.reason);
      this.#signal.addEventListener('abort', abort, { once: true });
      let body;
      try {
        body = await this.#server.feed(formatPosition(this.#view.position), { token, controller });
      } finally {
        this.#signal.removeEventListener('abort', abort);
      }
      if (!this.#isWanted) return controller.abort();
      if (!body) {
        this.#dropView('position_unknown');
        throw new GuardError('position_unknown', 'the feed has not come so far: it was restored');
      }
      await this.#greeted(new Stream({ clock: this.#clock, body, controller, token }));
    } catch (error) {
      if (error.status === 401) this.#credentials.invalidate(token);
      throw error;
    }
    return undefined;
  }

  /** Reads from the stream on; settles at its first event. */
  #greeted(stream) {
    return new Promise((resolve, reject) => {
      this.#streams.add(stream);
      const reading = stream.read({
        onHello: () => {
          this.#adopt(stream);
          resolve();
        },
        onEvent: (event, data) => this.#hear(stream, event, data),
      });
      reading.then(() => {
        this.#lost(stream);
        reject(stream.reason instanceof Error ? stream.reason : new GuardError('ended', `the feed ended: ${stream.reason}`));
      });
    });
  }

  #loadSnapshot(token) {
    this.#snapshotPending ??= this.#readSnapshot(token).finally(() => {
      this.#snapshotPending = null;
    });
    return this.#snapshotPending;
  }

  async #readSnapshot(token) {
    const cutoffs = this.#view.newCutoffs();
    let head = null;
    let count = 0;
    await this.#server.snapshot((value) => {
      if (head === null) {
        head = { position: parsePosition(value?.position), issuer: value.issuer, cutoffs: value.cutoffs };
        if (head.issuer !== this.#issuer) throw protocolError('the snapshot is of another issuer');
        return;
      }
      count += 1;
      if (count > CUTOFFS_MAX) throw new GuardError('too_many', `the snapshot has more than ${CUTOFFS_MAX} cutoffs`);
      if (!cutoffs.add(value)) this.#goBlind();
    }, { token, signal: this.#signal });
    if (head === null || count !== head.cutoffs) throw protocolError('the snapshot is not complete');
    this.#view.begin(cutoffs, head.position);
    this.snapshots += 1;
  }

  #adopt(stream) {
    // The one before goes on until this one is proven; earlier ones were of no use.
    for (const other of this.#streams) if (other !== stream && other !== this.#current && other.id !== null) other.end('replaced');
    this.#current = stream;
    this.connections += 1;
    this.#tickEvery(stream.probeSeconds);
    this.#probe();
    this.#onChange();
  }

  /** A stream has ended. Its echoes will not come; what other nodes have answered still counts. */
  #lost(stream) {
    this.#streams.delete(stream);
    for (const [number, pending] of this.#pending) {
      if (pending.stream === stream && !pending.position) this.#pending.delete(number);
    }
    if (this.#current === stream) this.#current = [...this.#streams].findLast(({ id }) => id !== null) ?? null;
    if (this.#streams.size === 0) {
      this.#note(stream.reason);
      this.#wakeUp?.();
    }
    this.#onChange();
  }

  #allLost() {
    if (this.#streams.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wakeUp = resolve;
    });
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  // ---- Hearing

  #hear(stream, event, data) {
    switch (event) {
      case 'ending': return this.#applyEnding(parseJson(data));
      case 'echo': return this.#hearEcho(stream, parseJson(data));
      case 'position': return this.#advance(parseJson(data));
      case 'end': return this.#hearEnd(stream, parseJson(data));
      // A kind of event that is not in this protocol cannot be an ending.
      default: return undefined;
    }
  }

  #applyEnding(entry) {
    if (!this.#view.apply(entry?.cutoff, entry?.lane, entry?.position)) return this.#goBlind();
    if (this.#view.size > CUTOFFS_MAX) {
      this.#dropView('too_many');
      return undefined;
    }
    return this.#countReached();
  }

  #hearEcho(stream, echo) {
    this.#advance(echo);
    const pending = this.#pending.get(echo.probe);
    if (pending?.stream === stream) this.#countEchoed(echo.probe, pending);
  }

  #advance(event) {
    this.#view.advance(parsePosition(event?.position));
    this.#countReached();
  }

  #hearEnd(stream, end) {
    const reason = typeof end?.reason === 'string' ? end.reason.slice(0, 100) : 'unknown';
    if (reason === 'token_expired' || reason === 'token_ended') this.#credentials.invalidate(stream.token);
    stream.end(reason);
  }

  /** Probes that another node answered count once this guard has come as far as that node had. */
  #countReached() {
    let reached = null;
    for (const [number, { position }] of this.#pending) {
      if (position && this.#view.hasReached(position)) reached = number;
    }
    if (reached !== null) this.#countEchoed(reached, this.#pending.get(reached));
  }

  #countEchoed(number, { sent, stream }) {
    this.#view.echoed(sent);
    for (const earlier of this.#pending.keys()) {
      if (earlier <= number) this.#pending.delete(earlier);
    }
    if (stream === this.#current && !stream.isProven) {
      stream.isProven = true;
      this.#attempt = 0;
      // Only now is the one before it of no more use.
      for (const other of this.#streams) if (other !== stream && other.id !== null) other.end('replaced');
    }
    this.problem = null;
    this.#onChange();
  }

  // ---- Telling

  async #probe() {
    const stream = this.#current;
    if (!stream || stream.isEnded || this.#probesInFlight >= PROBES_IN_FLIGHT_MAX) return;
    this.#probeNumber += 1;
    const number = this.#probeNumber;
    const pending = { sent: instant(this.#clock), stream, accepted: false, position: null };
    this.#pending.set(number, pending);
    this.#probesInFlight += 1;
    const activity = this.#activity.take();
    let isTold = false;
    try {
      const token = await this.#credentials.get();
      // It may have ended while a token was fetched.
      if (stream.isEnded) return;
      const position = formatPosition(this.#view.position);
      const probe = { stream: stream.id, probe: number, position, guard: this.#announcement };
      if (activity.length > 0) probe.activity = activity;
      const { status, body } = await this.#server.probe(probe, { token, signal: this.#signal });
      if (status === 401) this.#credentials.invalidate(token);
      if (status === 200) pending.position = parsePosition(body?.position);
      else if (status === 202) pending.accepted = true;
      else throw new GuardError('refused', `endings/probe answered ${status}`);
      isTold = true;
    } catch (error) {
      // It may have arrived all the same, and then its echo is as good as any.
      this.#note(error);
    } finally {
      this.#probesInFlight -= 1;
      if (!isTold) this.#activity.putBack(activity);
    }
    this.#countReached();
  }

  // ---- What has to be looked at now and then

  #tickEvery(seconds) {
    if (this.#tickerSeconds === seconds) return;
    clearInterval(this.#ticker);
    this.#tickerSeconds = seconds;
    this.#ticker = setInterval(() => this.#tick(), seconds * 1000).unref();
  }

  #tick() {
    this.#view.expire();
    this.#keys.refresh();
    this.#endSilentStreams();
    this.#forgetOldProbes();
    this.#renewWhenDue();
    this.#probe();
    this.#onChange();
  }

  /** A connection may be dead without anybody saying so; and a node may be without its database. */
  #endSilentStreams() {
    const now = this.#clock.monotonic();
    for (const stream of this.#streams) {
      if (stream.id !== null && now - stream.heardAt > SILENCE_MS) stream.end('silent');
    }
    const isLate = ({ accepted, position, stream, sent }) =>
      (accepted || position) && stream === this.#current && now - sent.monotonic > this.#echoLimitMs;
    if ([...this.#pending.values()].some(isLate)) this.#current.end('no_echo');
  }

  /** After so long an echo is overdue. */
  get #echoLimitMs() {
    return Math.max(ECHO_MS, this.#tickerSeconds * 3_000, this.#announcement.lease_seconds * 500);
  }

  /** What was sent a lease ago makes nothing fresh any more. */
  #forgetOldProbes() {
    const now = this.#clock.monotonic();
    const limit = Math.max(this.#announcement.lease_seconds * 1000, this.#echoLimitMs);
    for (const [number, { sent }] of this.#pending) {
      if (now - sent.monotonic > limit || this.#pending.size > PROBES_PENDING_MAX) this.#pending.delete(number);
    }
  }

  /** The stream ends with its token, so the next one is opened, with a new token, while this one still runs. */
  #renewWhenDue() {
    const isTime = this.#credentials.isDue && this.#clock.monotonic() >= this.#renewAfter;
    if (!isTime || this.#renewing || !this.isConnected) return;
    this.#renewing = true;
    const { token: before } = this.#current;
    this.#credentials.renew()
      // An application's own function may hand out the same token for a while.
      .then((token) => (token === before ? undefined : this.#open()))
      .then(() => {
        this.#failures = 0;
      }, (error) => {
        this.#note(error);
        this.#renewAfter = this.#clock.monotonic() + reconnectWaitMs(this.#failures, this.#random);
        this.#failures += 1;
      })
      .finally(() => {
        this.#renewing = false;
      });
  }

  // ---- Ending

  #goBlind() {
    this.isBlind = true;
    this.#stop('unknown_cutoff');
    throw new GuardError('unknown_cutoff', 'this guard is too old for the server: there are cutoffs that it does not know');
  }

  #dropView(reason) {
    this.#view.drop();
    this.#pending.clear();
    for (const stream of this.#streams) stream.end(reason);
  }

  #stop(reason) {
    this.problem = reason;
    this.#dropView(reason);
    clearInterval(this.#ticker);
    this.#wakeUp?.();
    this.#onChange();
  }

  #note(reason) {
    if (this.isBlind || this.#signal.aborted) return;
    this.problem = String(reason?.message ?? reason);
    this.#onChange();
  }
}

// A Curfew that speaks the protocol of docs/guards.md, and can be told to misbehave.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { createGuard } from '../src/index.js';
import { eventually } from './eventually.js';
import { FakeClock } from './fake-clock.js';

/** The number of its feed. */
const FEED = 7;
export const AUDIENCE = 'https://api.example/';
export const CLIENT = { clientId: 'guard-client', clientSecret: 'guard-secret' };

const newKey = async (kid, alg = 'ES256') => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
};

// Made once: keys take their time.
const firstKey = await newKey('key-1');

export class FakeCurfew {
  clock = new FakeClock();
  audience = AUDIENCE;
  keys = [firstKey];
  probeSeconds = 0.02;
  tokenSeconds = 3600;
  /** What was asked for, in order: `{path, query, token, body}`. */
  requests = [];
  /** The probes that came in. */
  probes = [];
  /** Requests, also those that were not even read. */
  attempts = 0;
  /** The position of each lane. */
  heads;

  // ---- How it misbehaves

  /** Paths that are never answered. */
  hanging = new Set();
  /** Paths whose answer begins and goes no further. */
  stalling = new Set();
  /** Paths that are answered with this status. */
  statuses = new Map();
  /** Every connection is closed at once. */
  isDown = false;
  echoes = true;
  /** What it answers to a probe that it has heard. */
  answersProbes = 202;
  /** Another node holds the stream: probes are answered with its position. */
  isOtherNode = false;
  /** What the other node has read; its own position without it. */
  otherPosition = null;
  /** It knows no position. */
  isRestored = false;
  /** What is sent in the stream waits. */
  isHolding = false;
  /** Whether a token lives. */
  introspect = () => true;
  /** Lines of the snapshot, and how many it says there are. */
  snapshotLines = null;

  #entries = [];
  #streams = new Set();
  #server;
  #tokens = 0;

  static async start(t, { lanes = 1, ...more } = {}) {
    const fake = Object.assign(new FakeCurfew(), more);
    fake.heads = Array.from({ length: lanes }, () => 0);
    fake.#server = createServer((request, response) => fake.#answer(request, response));
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    fake.issuer = `http://127.0.0.1:${fake.#server.address().port}/`;
    t.after(() => {
      fake.#server.closeAllConnections();
      fake.#server.close();
    });
    return fake;
  }

  /** A guard before the API, which has its view unless `waits` says otherwise. */
  async guard(t, { isReady = true, ...options } = {}) {
    const guard = createGuard({ issuer: this.issuer, audience: AUDIENCE, ...(options.getToken ? {} : CLIENT), clock: this.clock, name: 'test', ...options });
    t.after(() => guard.close());
    if (isReady) await guard.ready();
    return guard;
  }

  get position() {
    return [...this.heads, FEED].join('.');
  }

  count(path) {
    return this.requests.filter((request) => request.path === path).length;
  }

  get streams() {
    return this.#streams.size;
  }

  /** An access token; members that are `undefined` are left out. */
  async token(claims = {}, { key = this.keys[0], ...header } = {}) {
    const now = this.clock.seconds;
    const payload = { iss: this.issuer, aud: AUDIENCE, sub: 'auth0|one', iat: now, exp: now + 600, azp: 'app', jti: randomUUID(), scope: 'read:things', ...claims };
    return new SignJWT(JSON.parse(JSON.stringify(payload)))
      .setProtectedHeader({ alg: key.alg, typ: 'JWT', kid: key.kid, ...header })
      .sign(key.privateKey);
  }

  async addKey(kid, alg) {
    const key = await newKey(kid, alg);
    this.keys = [...this.keys, key];
    return key;
  }

  // ---- The feed

  /** Something ends: the next number of the lane, told to every stream. */
  end(cutoff, lane = 0) {
    this.heads[lane] += 1;
    const entry = { cutoff, lane, position: this.heads[lane] };
    this.#entries.push(entry);
    this.#tell('ending', { ...entry, ending_id: randomUUID(), cause: 'user_blocked', at: '2026-11-22T10:42:07.000Z' });
  }

  /** Something ends that does not concern this API. */
  endElsewhere(lane = 0) {
    this.heads[lane] += 1;
  }

  tellPosition() {
    this.#tell('position', { position: this.position });
  }

  /** Bytes into every stream, as they are. */
  write(text) {
    for (const { response } of this.#streams) response.write(text);
  }

  release() {
    this.isHolding = false;
    for (const stream of this.#streams) for (const text of stream.held.splice(0)) stream.response.write(text);
  }

  /** Ends every stream; with a reason it says so first. */
  cut(reason) {
    for (const { response } of this.#streams) {
      if (reason) response.end(eventOf('end', { reason }));
      else response.destroy();
    }
    this.#streams.clear();
  }

  /** A backup was restored: positions and what was written after it are gone. */
  restore() {
    this.isRestored = true;
    this.cut();
  }

  #tell(event, data) {
    for (const stream of this.#streams) this.#send(stream, eventOf(event, data));
  }

  #send(stream, text) {
    if (this.isHolding) stream.held.push(text);
    else stream.response.write(text);
  }

  // ---- Requests

  async #answer(request, response) {
    this.attempts += 1;
    if (this.isDown) return request.socket.destroy();
    const { pathname, searchParams } = new URL(request.url, this.issuer);
    const path = pathname.slice(1);
    let text = '';
    for await (const chunk of request) text += chunk;
    const token = request.headers.authorization?.replace('Bearer ', '');
    const asked = { path, query: searchParams, token, body: text };
    this.requests.push(asked);
    if (this.hanging.has(path)) return undefined;
    if (this.stalling.has(path)) return response.writeHead(200, { 'content-type': 'application/json' }).write('{"active":');
    if (this.statuses.has(path)) return json(response, this.statuses.get(path), { error: 'told_to' });
    switch (path) {
      case '.well-known/jwks.json': return json(response, 200, { keys: this.keys.map(({ jwk }) => jwk) });
      case 'oauth/token': return this.#token(response, new URLSearchParams(text));
      case 'oauth/introspect': return json(response, 200, { active: this.introspect(new URLSearchParams(text).get('token')) });
      case 'endings/snapshot': return this.#snapshot(response);
      case 'endings/feed': return this.#feed(response, asked);
      case 'endings/probe': return this.#probe(response, JSON.parse(text));
      default: return json(response, 404, {});
    }
  }

  #token(response, form) {
    const isClient = form.get('client_id') === CLIENT.clientId && form.get('client_secret') === CLIENT.clientSecret;
    if (!isClient || form.get('audience') !== this.audience) return json(response, 401, { error: 'access_denied' });
    this.#tokens += 1;
    return json(response, 200, { access_token: `token-${this.#tokens}`, token_type: 'Bearer', expires_in: this.tokenSeconds });
  }

  #snapshot(response) {
    this.isRestored = false;
    const cutoffs = this.#entries.map(({ cutoff }) => cutoff);
    const head = { position: this.position, issuer: this.issuer, cutoffs: cutoffs.length };
    const lines = this.snapshotLines ?? [head, ...cutoffs].map((line) => JSON.stringify(line));
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' });
    response.end(gzipSync(lines.map((line) => `${line}\n`).join('')));
  }

  #feed(response, { query, token }) {
    if (this.isRestored) return json(response, 410, { error: 'position_unknown' });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const stream = { id: randomUUID(), response, token, held: [] };
    this.#streams.add(stream);
    response.on('close', () => this.#streams.delete(stream));
    const from = query.get('position').split('.').map(Number);
    response.write(eventOf('hello', { stream: stream.id, node: 'node-1', position: this.position, probe_seconds: this.probeSeconds }));
    for (const entry of this.#entries) if (entry.position > from[entry.lane]) this.#send(stream, eventOf('ending', entry));
  }

  #probe(response, probe) {
    this.probes.push(probe);
    if (this.isOtherNode) return json(response, 200, { position: this.otherPosition ?? this.position });
    const stream = [...this.#streams].find(({ id }) => id === probe.stream);
    response.writeHead(this.answersProbes).end();
    if (stream && this.echoes) this.#send(stream, eventOf('echo', { probe: probe.probe, position: this.position }));
  }
}

const eventOf = (event, data) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

const json = (response, status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

/** Waits until the guard has applied everything that the server has. */
export const caughtUp = (fake, guard) => eventually(() => guard.status().position === fake.position, 'the guard catches up');

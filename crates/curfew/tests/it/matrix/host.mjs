// Guards of `clients/js/guard`, as many as are asked for, driven by lines of JSON: one question, one answer.
//
// They follow the real feed over a socket. What the time is says whoever asks; nothing grows old by itself.

import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { createGuard } from '../../../../../clients/js/guard/src/index.js';

const [issuer, address] = process.argv.slice(2);
const DEADLINE_MS = 30_000;

let nowMs = 0;
const clock = { monotonic: () => nowMs, wall: () => nowMs };
/** The issuer is served here. */
const nearby = (url, init) => fetch(`http://${address}/${url.slice(issuer.length)}`, init);
const guards = new Map();

const isUpToDate = (guard, heads, isLost) => {
  const { fresh, position } = guard.status();
  if (!fresh) return isLost;
  const lanes = position.split('.').map(Number);
  return heads.every((head, lane) => lanes[lane] >= head);
};

/** What the guard says of a token once it has heard everything up to `heads`. One that is lost never may. */
async function judge({ name, token, heads, isLost }) {
  const guard = guards.get(name);
  for (const end = performance.now() + DEADLINE_MS; !isUpToDate(guard, heads, isLost); await pause(2)) {
    if (performance.now() > end) return { fault: 'it did not hear', status: guard.status() };
  }
  const { ok, status, description } = await guard.check(token);
  return ok ? { status: 200 } : { status, description };
}

function follow({ name, audience, clientId, clientSecret }) {
  guards.set(name, createGuard({ issuer, audience, clientId, clientSecret, name, clock, fetch: nearby }));
  return {};
}

for await (const line of createInterface({ input: process.stdin })) {
  const { now, ...question } = JSON.parse(line);
  nowMs = now * 1000;
  const answer = question.token === undefined ? follow(question) : await judge(question);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();

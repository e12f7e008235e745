// Where the server is asked about one token.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Introspection } from '../src/introspection.js';
import { stopwatch } from './eventually.js';
import { FakeClock } from './fake-clock.js';
import { FakeCurfew, caughtUp } from './fake-curfew.js';

const U = 'user-key-16-char';
const user = { cfw: { u: U, n: 5, g: 'grant-key-16-cha' } };
const families = (fake, n) => fake.end(['user_families', U, n, fake.clock.seconds + 700]);
const asked = (fake) => fake.count('oauth/introspect');

describe('a cutoff that does not decide alone', () => {
  test('has the server asked once for each token', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const [one, two] = [await fake.token(user), await fake.token(user)];
    families(fake, 6);
    await caughtUp(fake, guard);
    fake.introspect = (token) => token === one;
    for (let at = 0; at < 3; at += 1) {
      assert.equal((await guard.check(one)).ok, true);
      assert.equal((await guard.check(two)).status, 401);
    }
    await Promise.all([1, 2, 3].map(() => guard.check(one)));
    assert.equal(asked(fake), 2);
    const introspection = fake.requests.find(({ path }) => path === 'oauth/introspect');
    assert.equal(introspection.token, 'token-1');
    assert.equal(new URLSearchParams(introspection.body).get('token'), one);
  });

  test('has requests at the same time wait for one answer', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token(user);
    families(fake, 6);
    await caughtUp(fake, guard);
    const answers = await Promise.all(Array.from({ length: 20 }, () => guard.check(token)));
    assert.ok(answers.every(({ ok }) => ok));
    assert.equal(asked(fake), 1);
  });

  test('has it asked again when another one comes', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token({ ...user, sid: 's' });
    families(fake, 6);
    await caughtUp(fake, guard);
    assert.ok((await guard.check(token)).ok);
    families(fake, 5);
    await caughtUp(fake, guard);
    assert.ok((await guard.check(token)).ok);
    assert.equal(asked(fake), 1, 'what was known says nothing new');
    fake.introspect = () => false;
    families(fake, 7);
    await caughtUp(fake, guard);
    assert.equal((await guard.check(token)).status, 401);
    fake.introspect = () => true;
    fake.end(['session_expired', 's', fake.clock.seconds + 700]);
    await caughtUp(fake, guard);
    assert.ok((await guard.check(token)).ok);
    assert.equal(asked(fake), 3);
  });

  test('is overruled by one that does', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token(user);
    families(fake, 6);
    await caughtUp(fake, guard);
    assert.ok((await guard.check(token)).ok);
    fake.end(['grant', user.cfw.g, fake.clock.seconds + 700]);
    await caughtUp(fake, guard);
    assert.equal((await guard.check(token)).status, 401);
    assert.equal(asked(fake), 1);
  });

  test('lets nothing pass when the server does not say, and asks again', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token(user);
    families(fake, 6);
    await caughtUp(fake, guard);
    for (const status of [500, 503, 403, 429, 302]) {
      fake.statuses.set('oauth/introspect', status);
      assert.deepEqual([(await guard.check(token)).status, (await guard.check(token)).retryAfter], [503, 1], String(status));
    }
    fake.statuses.clear();
    for (const active of ['true', 1, null, undefined, {}]) {
      fake.introspect = () => active;
      assert.equal((await guard.check(token)).status, 503, String(active));
    }
    fake.introspect = () => true;
    assert.ok((await guard.check(token)).ok);
  });

  test('makes a guard that does not ask refuse the token', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t, { stale: 'refuse' });
    families(fake, 6);
    await caughtUp(fake, guard);
    const answer = await guard.check(await fake.token(user));
    assert.deepEqual([answer.status, answer.error], [401, 'invalid_token']);
    assert.ok((await guard.check(await fake.token({ cfw: { ...user.cfw, n: 6 } }))).ok);
    assert.equal(asked(fake), 0);
  });
});

test('a server that hangs holds up nobody', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  families(fake, 6);
  await caughtUp(fake, guard);
  fake.hanging.add('oauth/introspect');
  const tokens = await Promise.all(Array.from({ length: 300 }, () => fake.token(user)));
  const elapsedMs = stopwatch(t);
  const answers = await Promise.all(tokens.map((token) => guard.check(token)));
  assert.ok(answers.every(({ status }) => status === 503));
  assert.ok(elapsedMs() < 8_000);
  fake.hanging.clear();
  assert.ok((await guard.check(tokens[0])).ok);
});

test('no more than so many questions are under way', async (t) => {
  // Nothing else keeps this process alive.
  stopwatch(t);
  const hangs = new Promise(() => {});
  let sent = 0;
  const introspection = new Introspection({
    server: { introspect: () => hangs },
    credentials: {
      get: () => {
        sent += 1;
        return hangs;
      },
    },
    clock: new FakeClock(),
    signal: new AbortController().signal,
  });
  // All of them before anything else can run.
  const asking = Array.from({ length: 300 }, (_, at) => introspection.ask(`token ${at}`));
  assert.equal(sent, 256);
  const codes = (await Promise.allSettled(asking)).map(({ reason }) => reason.code);
  assert.deepEqual(codes.slice(256), Array(44).fill('busy'));
  assert.ok(codes.slice(0, 256).every((code) => code === 'timeout'), 'they are given up');
  await assert.rejects(introspection.ask('another'), { code: 'timeout' }, 'and leave room for others');
});

test('a token endpoint that hangs holds up nobody either', async (t) => {
  const fake = await FakeCurfew.start(t);
  fake.hanging.add('oauth/token');
  const guard = await fake.guard(t, { isReady: false });
  const elapsedMs = stopwatch(t);
  assert.equal((await guard.check(await fake.token())).status, 503);
  assert.ok(elapsedMs() < 6_000);
});

test('a guard whose token was ended gets another before it asks', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  families(fake, 6);
  await caughtUp(fake, guard);
  fake.statuses.set('oauth/introspect', 401);
  const token = await fake.token(user);
  assert.equal((await guard.check(token)).status, 503);
  assert.equal(asked(fake), 2);
  assert.ok(fake.count('oauth/token') >= 2);
});

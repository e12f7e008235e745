// What ends a token: each row of the table in docs/guards.md, alive first and then ended.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Cutoffs } from '../src/cutoffs.js';
import { eventually, fresh } from './eventually.js';
import { AUDIENCE, FakeCurfew, caughtUp } from './fake-curfew.js';

const U = 'user-key-16-char';
const SID = 'session-of-32-characters-aaaaaaa';
const OTHER = 'session-of-32-characters-bbbbbbb';
const G = 'grant-key-16-cha';
const user = { sid: SID, cfw: { u: U, n: 5, c: 2, g: G } };
const machine = { sub: 'app@clients', cfw: { c: 2, g: G } };

/** `[cutoff without until, claims, what it makes of the token]`. */
const rows = [
  [['user', U, 6], user, 'ended'],
  [['user', U, 5], user, 'alive'],
  [['user', 'another-user-key', 6], user, 'alive'],
  [['user', U, 6], machine, 'alive'],
  [['user', U, 6], { cfw: { u: U } }, 'alive'],
  [['user_sessions', U, 6, null], user, 'ended'],
  [['user_sessions', U, 6, OTHER], user, 'ended'],
  [['user_sessions', U, 6, SID], user, 'alive'],
  [['user_sessions', U, 6, null], { ...user, sid: undefined }, 'ask'],
  [['user_sessions', U, 5, null], user, 'alive'],
  [['user_families', U, 6], user, 'ask'],
  [['user_families', U, 6], { ...user, sid: undefined }, 'ask'],
  [['user_families', U, 5], user, 'alive'],
  [['user_client', U, 'app', 6], user, 'ended'],
  [['user_client', U, 'app', 6], { ...user, azp: undefined, client_id: 'app' }, 'ended'],
  [['user_client', U, 'app', 5], user, 'alive'],
  [['user_client', U, 'another', 6], user, 'alive'],
  [['session', SID], user, 'ended'],
  [['session', OTHER], user, 'alive'],
  [['session', SID], machine, 'alive'],
  [['session_expired', SID], user, 'ask'],
  [['session_expired', SID], { ...user, cfw: { u: U, n: 5 } }, 'ended'],
  [['session_expired', OTHER], user, 'alive'],
  [['grant', G], user, 'ended'],
  [['grant', G], machine, 'ended'],
  [['grant', 'another-grant-ke'], machine, 'alive'],
  [['client', 'app', null], machine, 'ended'],
  [['client', 'app', null], { cfw: {} }, 'ended'],
  [['client', 'app', null], { cfw: undefined }, 'ended'],
  [['client', 'app', 3], { ...machine, azp: undefined, client_id: 'app' }, 'ended'],
  [['client', 'app', 3], user, 'ended'],
  [['client', 'app', 2], user, 'alive'],
  [['client', 'app', 3], { cfw: {} }, 'alive'],
  [['client', 'another', null], user, 'alive'],
  [['client_users', 'app', 3], user, 'ended'],
  [['client_users', 'app', 2], user, 'alive'],
  [['client_users', 'app', 3], machine, 'alive'],
  [['client_users', 'another', 3], user, 'alive'],
  [['users', 'now'], user, 'ask'],
  [['users', 'before'], user, 'alive'],
  [['users', 'now'], machine, 'alive'],
  [['audience', AUDIENCE, 'now'], user, 'ended'],
  [['audience', AUDIENCE, 'before'], user, 'alive'],
  [['audience', 'https://another.example/', 'now'], user, 'alive'],
  [['signing_key', 'key-1'], machine, 'ended'],
  [['signing_key', 'key-2'], machine, 'alive'],
];

const nameOf = ([cutoff, claims, verdict]) => `${JSON.stringify(cutoff)} and ${JSON.stringify({ sid: claims.sid, cfw: claims.cfw })}: ${verdict}`;

function cutoffAt(fake, [cutoff]) {
  const seconds = { now: fake.clock.seconds, before: fake.clock.seconds - 1 };
  return [...cutoff.map((member) => seconds[member] ?? member), fake.clock.seconds + 700];
}

describe('by the feed', () => {
  for (const row of rows) {
    test(nameOf(row), async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t, { stale: 'refuse' });
      const token = await fake.token(row[1]);
      assert.ok((await guard.check(token)).ok, 'it lives');
      fake.end(cutoffAt(fake, row));
      await caughtUp(fake, guard);
      const answer = await guard.check(token);
      assert.equal(answer.ok, row[2] === 'alive');
      if (!answer.ok) assert.deepEqual([answer.status, answer.error], [401, 'invalid_token']);
    });
  }
});

describe('by the snapshot', () => {
  for (const row of rows) {
    test(nameOf(row), async (t) => {
      const fake = await FakeCurfew.start(t);
      const token = await fake.token(row[1]);
      fake.end(cutoffAt(fake, row));
      const guard = await fake.guard(t);
      fake.introspect = () => false;
      assert.equal((await guard.check(token)).ok, row[2] === 'alive');
      assert.equal(guard.status().introspections, row[2] === 'ask' ? 1 : 0);
    });
  }
});

test('an ending is heard by every lane', async (t) => {
  const fake = await FakeCurfew.start(t, { lanes: 32 });
  const guard = await fake.guard(t);
  const token = await fake.token(user);
  fake.end(['session', OTHER, fake.clock.seconds + 700], 31);
  fake.end(['user', U, 6, fake.clock.seconds + 700], 7);
  await caughtUp(fake, guard);
  assert.equal((await guard.check(token)).status, 401);
});

describe('several for the same thing', () => {
  const claims = (n, sid = SID) => ({ sid, iat: 100, azp: 'app', cfw: { u: U, n, c: n } });
  const judge = (cutoffs, n, sid) => cutoffs.judge(claims(n, sid), 'key').verdict;
  const holding = (...list) => {
    const cutoffs = new Cutoffs(AUDIENCE);
    for (const cutoff of list) assert.ok(cutoffs.add(cutoff));
    return cutoffs;
  };

  test('the larger number counts, in whichever order they come', () => {
    for (const order of [[0, 1], [1, 0]]) {
      const two = [['user', U, 10, 1000], ['user', U, 5, 2000]];
      const cutoffs = holding(...order.map((at) => two[at]));
      assert.equal(judge(cutoffs, 9), 'ended');
      assert.equal(judge(cutoffs, 10), 'alive');
      assert.equal(cutoffs.size, 1);
    }
  });

  test('the later end counts', () => {
    const cutoffs = holding(['user', U, 10, 2000], ['user', U, 12, 1000], ['session', SID, 3000], ['session', SID, 1000]);
    cutoffs.expire(1500);
    assert.equal(judge(cutoffs, 11, OTHER), 'ended');
    cutoffs.expire(2500);
    assert.equal(judge(cutoffs, 11, OTHER), 'alive');
    assert.equal(judge(cutoffs, 11), 'ended');
    cutoffs.expire(3000);
    assert.equal(judge(cutoffs, 11), 'alive');
    assert.equal(cutoffs.size, 0);
  });

  test('a client ends altogether, whatever number came before or after', () => {
    for (const list of [[null, 3], [3, null]]) {
      const cutoffs = holding(...list.map((c) => ['client', 'app', c, 1000]));
      assert.equal(judge(cutoffs, 99), 'ended');
    }
  });

  test('the session that stays is the one of the larger number', () => {
    const cutoffs = holding(['user_sessions', U, 10, OTHER, 1000], ['user_sessions', U, 20, SID, 1000]);
    assert.equal(judge(cutoffs, 15), 'alive');
    assert.equal(judge(cutoffs, 15, OTHER), 'ended');
  });
});

describe('what is over', () => {
  test('is dropped in portions', () => {
    const cutoffs = new Cutoffs(AUDIENCE);
    for (let at = 0; at < 100; at += 1) cutoffs.add(['session', `session ${at}`, 1000 + at]);
    cutoffs.expire(5000, 30);
    assert.equal(cutoffs.size, 70);
    cutoffs.expire(5000, 30);
    assert.equal(cutoffs.size, 40);
    cutoffs.expire(5000);
    assert.equal(cutoffs.size, 0);
  });

  test('stays for as long as a token can live by this clock, and is not trusted beyond when that goes back', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token(user);
    const until = fake.clock.seconds + 600;
    fake.end(['user', U, 6, until]);
    await caughtUp(fake, guard);
    const began = fake.clock.wall();
    fake.clock.pass(602_000);
    await fresh(guard);
    assert.equal(guard.status().cutoffs, 1);
    assert.equal((await guard.check(token)).status, 401, 'by the tolerance it is not expired yet');
    fake.clock.pass(120_000);
    await fresh(guard);
    await eventually(() => guard.status().cutoffs === 0, 'it is dropped');
    assert.match((await guard.check(token)).description, /expired/);
    fake.clock.setWall(began);
    fake.introspect = () => false;
    await fresh(guard);
    assert.equal((await guard.check(token)).status, 401);
    assert.equal(guard.status().introspections, 1, 'what was dropped may have concerned it');
    assert.equal(new Cutoffs(AUDIENCE).droppedThrough, -Infinity);
  });
});

describe('what is not understood', () => {
  const unknown = [
    ['device', 'x', 1000], ['user', U, 1000], ['user', U, 6, 'more', 1000], ['user', 7, 6, 1000], ['user', U, '6', 1000],
    ['session', SID, null], ['session', SID, 1.5], ['client', 'app', undefined, 1000], [], 'session', null, { kind: 'session' },
  ];
  test('is said so', () => {
    for (const cutoff of unknown) assert.equal(new Cutoffs(AUDIENCE).add(cutoff), false, JSON.stringify(cutoff));
  });

  for (const way of ['feed', 'snapshot']) {
    test(`takes the view away, for ever, when it comes by the ${way}`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const token = await fake.token(user);
      const cutoff = ['device', 'x', fake.clock.seconds + 700];
      if (way === 'snapshot') fake.end(cutoff);
      const guard = await fake.guard(t, { isReady: way === 'feed', stale: 'refuse' });
      if (way === 'feed') {
        assert.ok((await guard.check(token)).ok);
        fake.end(cutoff);
        await eventually(() => guard.status().problem === 'unknown_cutoff', 'it is seen');
      } else {
        await assert.rejects(guard.ready(), { code: 'no_view' }, 'who waits is told');
        await assert.rejects(guard.ready(), { code: 'no_view' }, 'and who comes later');
      }
      assert.deepEqual({ ...await guard.check(token), description: '' }, { ok: false, status: 503, error: 'temporarily_unavailable', description: '', challenge: null, retryAfter: 1 });
      assert.equal(guard.status().ageSeconds, Infinity);
      assert.equal(guard.status().connected, false);
      const heard = fake.probes.at(-1);
      assert.ok(!heard || heard.position === '0.7', 'nothing is acknowledged that was not understood');
    });
  }
});

// What happens when a stream ends, and before.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reconnectWaitMs } from '../src/follower.js';
import { eventually, fresh, never, probesGoOn, stopwatch } from './eventually.js';
import { FakeCurfew, caughtUp } from './fake-curfew.js';

const ended = (fake, sid) => fake.end(['session', sid, fake.clock.seconds + 700]);

test('the wait is anything up to a limit that doubles from 100 ms to 5 s', () => {
  const limits = Array.from({ length: 20 }, (_, attempt) => reconnectWaitMs(attempt, () => 1));
  assert.deepEqual(limits.slice(0, 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  assert.equal(reconnectWaitMs(2 ** 40, () => 1), 5000);
  assert.equal(reconnectWaitMs(5, () => 0), 0);
  assert.equal(reconnectWaitMs(1, () => 0.5), 100);
  for (let at = 0; at < 1000; at += 1) {
    const wait = reconnectWaitMs(at, Math.random);
    assert.ok(wait >= 0 && wait < 5000);
  }
});

for (const reason of ['stopping', 'too_slow', 'silent', 'token_expired', 'token_ended', 'of tomorrow', undefined]) {
  test(`a stream that ends (${reason ?? 'without a word'}) is taken up where it was, without a snapshot`, async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    ended(fake, 'before');
    await caughtUp(fake, guard);
    fake.cut(reason);
    ended(fake, 'between');
    await eventually(() => guard.status().connections === 2, 'it comes back');
    await caughtUp(fake, guard);
    for (const sid of ['before', 'between']) assert.equal((await guard.check(await fake.token({ sid }))).status, 401);
    assert.equal(fake.count('endings/snapshot'), 1);
    const opened = fake.requests.filter(({ path }) => path === 'endings/feed');
    assert.deepEqual(opened.map(({ query }) => query.get('position')), ['0.7', '1.7']);
    const isNewToken = reason?.startsWith('token_') ?? false;
    assert.equal(opened[0].token !== opened[1].token, isNewToken, 'a token that is over is not used again');
  });
}

test('while it is away a view grows old, and is fresh again only with an echo', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t, { stale: 'refuse' });
  fake.echoes = false;
  fake.cut();
  fake.clock.pass(10_001);
  await eventually(() => guard.status().connections === 2, 'it comes back');
  await never(fake, () => guard.status().fresh, 'a stream alone says nothing');
  fake.echoes = true;
  await fresh(guard);
});

test('a server that goes on refusing is asked less and less often', async (t) => {
  const fake = await FakeCurfew.start(t);
  const [waits, moments] = [[], []];
  const elapsedMs = stopwatch(t);
  const guard = await fake.guard(t, {
    random: () => {
      waits.push(performance.now());
      moments.push(elapsedMs());
      return 0.3;
    },
  });
  fake.isDown = true;
  fake.cut();
  await eventually(() => waits.length >= 6, 'it tries again');
  const gaps = waits.slice(1).map((at, index) => at - waits[index]);
  for (const [index, gap] of gaps.entries()) assert.ok(gap >= 30 * 2 ** index - 5, `${gap} ms after attempt ${index}`);
  fake.isDown = false;
  await fresh(guard);
  await eventually(() => guard.status().problem === null, 'all is well');
  const before = waits.length;
  fake.isDown = true;
  fake.cut();
  await eventually(() => waits.length >= before + 2, 'it tries again');
  assert.ok(moments[before + 1] - moments[before] < 1_000, 'what was long ago is forgotten');
});

test('a feed that was restored is read from a new snapshot', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t, { stale: 'refuse' });
  fake.restore();
  await eventually(() => fake.count('endings/snapshot') === 2, 'it begins anew');
  await fresh(guard);
  assert.ok((await guard.check(await fake.token())).ok);
});

test('until then it has no view', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t, { stale: 'refuse' });
  fake.hanging.add('endings/snapshot');
  fake.restore();
  await eventually(() => fake.count('endings/snapshot') === 2, 'it asks');
  assert.equal(guard.status().ageSeconds, Infinity);
  assert.equal((await guard.check(await fake.token())).status, 503);
});

describe('a stream that is dead without saying so', () => {
  test('is left when nothing comes any more', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.statuses.set('endings/probe', 503);
    await eventually(() => {
      fake.clock.pass(1_000);
      return guard.status().connections === 2;
    }, 'it opens another');
  });

  test('is left when probes are accepted and not echoed', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.echoes = false;
    await eventually(() => {
      fake.clock.pass(500);
      return guard.status().connections === 2;
    }, 'it opens another');
    fake.echoes = true;
    await fresh(guard);
  });

  test('is not left for the silence that the protocol allows', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.statuses.set('endings/probe', 503);
    for (let at = 0; at < 4; at += 1) {
      fake.clock.pass(15_000);
      fake.write(': nothing\n\n');
      await probesGoOn(fake);
    }
    assert.equal(guard.status().connections, 1);
  });
});

describe('the token of the guard', () => {
  test('is renewed before it expires, and the next stream is open before the last one ends', async (t) => {
    const fake = await FakeCurfew.start(t, { tokenSeconds: 100 });
    let fewest = Infinity;
    const guard = await fake.guard(t, { stale: 'refuse' });
    const watching = setInterval(() => {
      fewest = Math.min(fewest, fake.streams);
    }, 1);
    t.after(() => clearInterval(watching));
    for (let renewals = 1; renewals <= 3; renewals += 1) {
      for (let seconds = 0; seconds < 81; seconds += 9) {
        fake.clock.pass(9_000);
        await never(fake, () => !guard.status().fresh, 'it is fresh all the time');
      }
      await eventually(() => guard.status().connections === renewals + 1, 'there is another stream');
    }
    await eventually(() => fake.streams === 1, 'the last one is closed');
    assert.equal(fewest, 1);
    assert.equal(fake.count('endings/snapshot'), 1);
    const tokens = fake.requests.filter(({ path }) => path === 'endings/feed').map(({ token }) => token);
    assert.deepEqual(tokens, ['token-1', 'token-2', 'token-3', 'token-4']);
  });

  test('that cannot be renewed is asked for again, and the stream goes on meanwhile', async (t) => {
    const fake = await FakeCurfew.start(t, { tokenSeconds: 100 });
    const guard = await fake.guard(t, { random: () => 0 });
    fake.statuses.set('oauth/token', 500);
    fake.clock.pass(85_000);
    await eventually(() => fake.count('oauth/token') >= 4, 'it tries again');
    assert.ok(guard.status().connected);
    fake.statuses.clear();
    await eventually(() => guard.status().connections === 2, 'there is another stream');
  });

  test('may come from the application', async (t) => {
    const fake = await FakeCurfew.start(t);
    let made = 0;
    const getToken = async () => ({ access_token: `own-${made += 1}`, expires_in: 3600 });
    await fake.guard(t, { getToken });
    assert.deepEqual([...new Set(fake.requests.map(({ token }) => token))].filter(Boolean), ['own-1']);
    assert.equal(fake.count('oauth/token'), 0);
  });

  test('of an application that keeps it does not open one stream after the other', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t, { getToken: () => ({ access_token: 'kept', expires_in: 100 }) });
    for (let at = 0; at < 20; at += 1) {
      fake.clock.pass(5_000);
      await probesGoOn(fake);
    }
    assert.equal(guard.status().connections, 1);
  });

  test('that is refused is fetched anew', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.statuses.set('endings/feed', 401);
    fake.cut();
    await eventually(() => fake.count('oauth/token') >= 3, 'it fetches another');
    fake.statuses.clear();
    await eventually(() => guard.status().connections === 2, 'it comes back');
  });
});

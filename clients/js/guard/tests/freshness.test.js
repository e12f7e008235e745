// How old a view is, and what a guard does when it is too old.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { View } from '../src/view.js';
import { eventually, fresh, never, probesGoOn, stopwatch } from './eventually.js';
import { FakeClock } from './fake-clock.js';
import { AUDIENCE, FakeCurfew, caughtUp } from './fake-curfew.js';

describe('the age of a view', () => {
  const begun = () => {
    const clock = new FakeClock();
    const view = new View({ clock, leaseSeconds: 10, audience: AUDIENCE, clockToleranceSeconds: 5 });
    view.begin(view.newCutoffs(), [0]);
    const sent = { monotonic: clock.monotonic(), wall: clock.wall() };
    return { clock, view, sent };
  };

  test('is infinite without a snapshot, and without an echo', () => {
    const clock = new FakeClock();
    const view = new View({ clock, leaseSeconds: 10, audience: AUDIENCE, clockToleranceSeconds: 5 });
    assert.equal(view.ageMs(), Infinity);
    view.begin(view.newCutoffs(), [0]);
    assert.equal(view.ageMs(), Infinity);
    assert.equal(view.isFresh, false);
  });

  test('counts from the sending of the probe, not from its echo', () => {
    const { clock, view, sent } = begun();
    clock.pass(4_000);
    view.echoed(sent);
    assert.equal(view.ageMs(), 4_000);
  });

  test('ends with the lease, to the millisecond', () => {
    const { clock, view, sent } = begun();
    view.echoed(sent);
    clock.pass(10_000);
    assert.equal(view.isFresh, true);
    clock.pass(1);
    assert.equal(view.isFresh, false);
  });

  test('is known to a machine that slept', () => {
    const { clock, view, sent } = begun();
    view.echoed(sent);
    clock.sleep(60_000);
    assert.equal(view.ageMs(), 60_000);
  });

  test('does not shrink because the wall clock is set back', () => {
    const { clock, view, sent } = begun();
    view.echoed(sent);
    clock.setWall(clock.wall() - 3_600_000);
    clock.pass(9_000);
    assert.equal(view.ageMs(), 9_000);
    clock.sleep(3_700_000);
    assert.equal(view.ageMs(), 109_000);
    clock.setWall(sent.wall);
    assert.equal(view.ageMs(), 109_000, 'it was as old as that');
    clock.pass(500);
    assert.equal(view.ageMs(), 109_500);
    view.echoed({ monotonic: clock.monotonic(), wall: clock.wall() });
    assert.equal(view.ageMs(), 0);
  });

  test('is infinite again when the view is dropped', () => {
    const { view, sent } = begun();
    view.echoed(sent);
    view.drop();
    assert.equal(view.ageMs(), Infinity);
    assert.equal(view.isFresh, false);
  });
});

/** Each way in which a guard loses touch. What is under way when it happens has no echo either. */
const cuts = {
  'the server hangs': (fake) => ['endings/feed', 'endings/probe', 'oauth/introspect'].forEach((path) => fake.hanging.add(path)),
  'the network is cut': (fake) => {
    fake.isDown = true;
    fake.cut();
  },
  'the node has lost its database': (fake) => fake.statuses.set('endings/probe', 503).set('oauth/introspect', 503),
  'the stream brings nothing more': (fake) => {
    fake.isHolding = true;
    fake.statuses.set('oauth/introspect', 503);
  },
  'there are no echoes': (fake) => {
    fake.echoes = false;
    fake.statuses.set('oauth/introspect', 500);
  },
  'another node is ahead of the stream': (fake) => {
    fake.isOtherNode = true;
    fake.otherPosition = '9.7';
    fake.statuses.set('oauth/introspect', 500);
  },
  'another node is at another feed': (fake) => {
    fake.isOtherNode = true;
    fake.otherPosition = '0.6';
    fake.statuses.set('oauth/introspect', 500);
  },
  'the guard is somebody no more': (fake) => {
    for (const path of ['oauth/token', 'endings/feed', 'endings/probe', 'oauth/introspect']) fake.statuses.set(path, 401);
    fake.cut('token_ended');
  },
};

/** The echoes of probes that were sent before have come; nothing makes the view younger now. */
async function settled(fake, guard) {
  await eventually(() => {
    fake.clock.pass(100);
    return guard.status().ageSeconds > 0.5;
  }, 'the view grows old');
}

for (const [name, cut] of Object.entries(cuts)) {
  for (const stale of ['introspect', 'refuse']) {
    test(`when ${name}, a guard set to ${stale} goes on for its lease and not longer`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t, { stale, leaseSeconds: 10 });
      const token = await fake.token();
      cut(fake);
      await settled(fake, guard);
      assert.ok((await guard.check(token)).ok, 'within the lease');
      fake.clock.pass(10_001);
      const elapsedMs = stopwatch(t);
      const answer = await guard.check(token);
      assert.deepEqual([answer.ok, answer.status, answer.error, answer.challenge, answer.retryAfter], [false, 503, 'temporarily_unavailable', null, 1]);
      assert.ok(elapsedMs() < 6_000, 'nobody waits for a server that hangs');
      assert.equal((await guard.check(`${token}x`)).status, 401, 'what is not valid is not valid');
    });
  }
}

for (const stale of ['introspect', 'refuse']) {
  test(`a guard set to ${stale} recovers by itself`, async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t, { stale });
    const token = await fake.token();
    fake.isDown = true;
    fake.cut();
    await eventually(() => !guard.status().connected, 'it notices');
    fake.clock.pass(60_000);
    assert.equal((await guard.check(token)).status, 503);
    fake.end(['session', 'while it was away', fake.clock.seconds + 700]);
    fake.isDown = false;
    await fresh(guard);
    assert.ok((await guard.check(token)).ok);
    assert.equal((await guard.check(await fake.token({ sid: 'while it was away' }))).status, 401);
    assert.equal(guard.status().problem, null);
  });
}

test('a view that is too old is replaced by the word of the server, for each request', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  const token = await fake.token();
  fake.echoes = false;
  await settled(fake, guard);
  fake.clock.pass(10_001);
  assert.ok((await guard.check(token)).ok);
  assert.ok((await guard.check(token)).ok);
  assert.equal(fake.count('oauth/introspect'), 2, 'nothing is kept: nobody would tell of the end');
  fake.introspect = () => false;
  const answer = await guard.check(token);
  assert.deepEqual([answer.status, answer.error], [401, 'invalid_token']);
  assert.equal((await guard.check(token, { scopes: 'write:things' })).status, 401);
  fake.introspect = () => true;
  assert.equal((await guard.check(token, { scopes: 'write:things' })).status, 403);
});

test('so it is before there is a view', async (t) => {
  const fake = await FakeCurfew.start(t);
  fake.hanging.add('endings/snapshot');
  const asking = await fake.guard(t, { isReady: false });
  const refusing = await fake.guard(t, { isReady: false, stale: 'refuse' });
  const token = await fake.token();
  assert.ok((await asking.check(token)).ok);
  assert.equal((await refusing.check(token)).status, 503);
  assert.equal(asking.status().ageSeconds, Infinity);
});

test('a machine that slept asks before it trusts again', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t, { stale: 'refuse' });
  const token = await fake.token();
  fake.echoes = false;
  await settled(fake, guard);
  fake.clock.sleep(60_000);
  assert.equal((await guard.check(token)).status, 503);
  fake.echoes = true;
  await fresh(guard);
  assert.ok((await guard.check(token)).ok);
});

describe('an echo', () => {
  test('comes after the endings that were acknowledged before its probe', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const token = await fake.token({ sid: 's' });
    fake.isHolding = true;
    fake.end(['session', 's', fake.clock.seconds + 700]);
    await settled(fake, guard);
    assert.ok((await guard.check(token)).ok, 'it was not heard yet, and the lease bounds that');
    fake.release();
    await caughtUp(fake, guard);
    assert.equal((await guard.check(token)).status, 401);
  });

  test('of another node counts when the guard has come as far as that node', async (t) => {
    const fake = await FakeCurfew.start(t, { lanes: 3, isOtherNode: true });
    const guard = await fake.guard(t);
    fake.isHolding = true;
    fake.end(['session', 's', fake.clock.seconds + 700], 1);
    await settled(fake, guard);
    fake.clock.pass(10_000);
    await never(fake, () => guard.status().fresh, 'the stream is behind');
    fake.release();
    await fresh(guard);
    assert.equal(guard.status().position, '0.1.0.7');
  });

  test('of another node counts when the stream says that nothing concerned this guard', async (t) => {
    const fake = await FakeCurfew.start(t, { lanes: 3, isOtherNode: true });
    const guard = await fake.guard(t);
    fake.endElsewhere(2);
    await settled(fake, guard);
    fake.clock.pass(10_000);
    await never(fake, () => guard.status().fresh, 'it cannot know');
    fake.tellPosition();
    await fresh(guard);
    assert.equal(guard.status().position, '0.0.1.7');
  });

  test('that was long under way makes the view as young as its probe, not younger', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.isHolding = true;
    await probesGoOn(fake);
    fake.echoes = false;
    fake.clock.pass(4_000);
    fake.release();
    await never(fake, () => guard.status().ageSeconds < 4, 'it is not new');
    assert.equal(guard.status().fresh, true);
  });

  test('of a probe whose answer was lost counts', async (t) => {
    const fake = await FakeCurfew.start(t, { answersProbes: 500 });
    const guard = await fake.guard(t);
    assert.ok((await guard.check(await fake.token())).ok);
  });

  test('of another number, or of another stream, is none', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.echoes = false;
    await settled(fake, guard);
    fake.write('event: echo\ndata: {"probe":1,"position":"0.7"}\n\nevent: echo\ndata: {"probe":99999,"position":"0.7"}\n\n');
    fake.clock.pass(10_000);
    await never(fake, () => guard.status().fresh, 'these are of nobody');
  });
});

test('probes say who asks, how far it has come, and what it does', async (t) => {
  const fake = await FakeCurfew.start(t, { lanes: 2 });
  const guard = await fake.guard(t, { name: 'orders-api-1', leaseSeconds: 7, stale: 'refuse' });
  fake.end(['session', 's', fake.clock.seconds + 700], 1);
  await caughtUp(fake, guard);
  const probe = await eventually(() => fake.probes.find(({ position }) => position === '0.1.7'), 'it acknowledges');
  const { instance, ...said } = probe.guard;
  assert.deepEqual(said, { name: 'orders-api-1', lease_seconds: 7, stale: 'refuse' });
  assert.match(instance, /^[0-9a-f-]{36}$/);
  assert.ok(!('activity' in probe));
  const numbers = fake.probes.map(({ probe: number }) => number);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length);
});

test('an application hears of it when its guard loses touch, and when it is back', async (t) => {
  const fake = await FakeCurfew.start(t);
  const heard = [];
  const guard = await fake.guard(t, { onStatus: (status) => heard.push(status) });
  assert.deepEqual([heard.at(-1).fresh, heard.at(-1).connected, heard.at(-1).problem], [true, true, null]);
  fake.echoes = false;
  await settled(fake, guard);
  fake.clock.pass(10_001);
  await eventually(() => heard.at(-1).fresh === false, 'it is told');
  fake.echoes = true;
  await eventually(() => heard.at(-1).fresh, 'it is told again');
  assert.ok(heard.length < 20, 'only changes are told');
  assert.ok(!JSON.stringify(heard).includes('guard-secret') && !JSON.stringify(heard).includes('token-1'));
});

test('an application that fails at the news does not stop its guard', async (t) => {
  const fake = await FakeCurfew.start(t);
  const warned = [];
  const warn = (warning) => warned.push(warning.message);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const guard = await fake.guard(t, { onStatus: () => { throw new Error('no'); } });
  assert.ok((await guard.check(await fake.token())).ok);
  await eventually(() => warned.includes('onStatus failed: no'), 'a warning says so');
});

// What must not grow, hang or keep a process alive, whatever the server sends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { GuardError } from '../src/errors.js';
import { Server } from '../src/server.js';
import { eventually, fresh, stopwatch } from './eventually.js';
import { CLIENT, AUDIENCE, FakeCurfew } from './fake-curfew.js';

describe('a snapshot', () => {
  const head = (fake, more) => JSON.stringify({ position: '0.7', issuer: fake.issuer, cutoffs: 1, ...more });
  const line = '["session","s",1900000000]';
  const wrong = {
    'of another issuer': (fake) => [head(fake, { issuer: 'https://another.example/' }), line],
    'that is cut short': (fake) => [head(fake, { cutoffs: 2 }), line],
    'that is longer than it says': (fake) => [head(fake), line, line],
    'without a head': () => [line],
    'without anything': () => [],
    'with a line that does not end': (fake) => [head(fake), `["session","${'x'.repeat(20_000)}",1900000000]`],
    'that is not JSON': (fake) => [head(fake), '["session"'],
    'with a position that is none': (fake) => [head(fake, { position: 'here' }), line],
  };
  for (const [name, lines] of Object.entries(wrong)) {
    test(`${name} is no view; the next one may be`, async (t) => {
      const fake = await FakeCurfew.start(t);
      fake.snapshotLines = lines(fake);
      const guard = await fake.guard(t, { isReady: false, stale: 'refuse' });
      await eventually(() => fake.count('endings/snapshot') >= 2, 'it asks again');
      assert.equal(guard.status().ageSeconds, Infinity);
      assert.equal((await guard.check(await fake.token())).status, 503);
      assert.ok(guard.status().problem);
      fake.snapshotLines = [head(fake), line];
      await fresh(guard);
      assert.equal((await guard.check(await fake.token({ sid: 's' }))).status, 401);
    });
  }
});

describe('in the stream', () => {
  const wrong = {
    'a line that does not end': `data: ${'x'.repeat(70_000)}`,
    'an ending that is not JSON': 'event: ending\ndata: {\n\n',
    'an ending of a lane that is not there': 'event: ending\ndata: {"cutoff":["session","s",1900000000],"lane":7,"position":1}\n\n',
    'an ending of no lane': 'event: ending\ndata: {"cutoff":["session","s",1900000000],"lane":"length","position":1}\n\n',
    'an ending without a number': 'event: ending\ndata: {"cutoff":["session","s",1900000000],"lane":0}\n\n',
    'an ending in the place of the feed': 'event: ending\ndata: {"cutoff":["session","s",1900000000],"lane":1,"position":9}\n\n',
    'a position with other lanes': 'event: position\ndata: {"position":"1.2.7"}\n\n',
    'a position of another feed': 'event: position\ndata: {"position":"0.8"}\n\n',
    'an echo from another feed': 'event: echo\ndata: {"probe":1,"position":"0.6"}\n\n',
    'an echo without a position': 'event: echo\ndata: {"probe":1}\n\n',
  };
  for (const [name, text] of Object.entries(wrong)) {
    test(`${name} ends it, and nothing of it counts`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t);
      fake.write(text);
      await eventually(() => guard.status().connections === 2, 'it opens another');
      assert.equal(guard.status().position, '0.7');
      await fresh(guard);
    });
  }

  test('an event of tomorrow is passed over', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    fake.write('event: weather\ndata: {"sun":true}\n\nevent: weather\ndata: not JSON\n\n');
    fake.end(['session', 's', fake.clock.seconds + 700]);
    await eventually(() => guard.status().position === '1.7', 'it goes on');
    assert.equal(guard.status().connections, 1);
  });
});

describe('an answer that begins and goes no further', () => {
  for (const path of ['oauth/introspect', 'oauth/token', '.well-known/jwks.json', 'endings/snapshot']) {
    test(`from ${path} is given up`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const server = new Server({ issuer: fake.issuer, fetch });
      fake.stalling.add(path);
      const controller = new AbortController();
      setTimeout(() => controller.abort(new GuardError('timeout', 'the test waits no longer')), 200);
      const more = { token: 't', signal: controller.signal, ms: 10_000 };
      const ways = {
        'oauth/introspect': () => server.introspect('x', more),
        'oauth/token': () => server.token({ ...CLIENT, audience: AUDIENCE, ...more }),
        '.well-known/jwks.json': () => server.jwks(more),
        'endings/snapshot': () => server.snapshot(() => {}, more),
      };
      const elapsedMs = stopwatch(t);
      await assert.rejects(ways[path](), { code: 'timeout' });
      assert.ok(elapsedMs() < 2_000);
    });
  }

  test('frees what waited for it, by its own limit too', async (t) => {
    const fake = await FakeCurfew.start(t);
    const server = new Server({ issuer: fake.issuer, fetch });
    fake.stalling.add('oauth/introspect');
    await assert.rejects(server.introspect('x', { token: 't', ms: 100 }), { code: 'timeout' });
  });
});

test('probes that hang do not pile up, and are given up', async (t) => {
  const fake = await FakeCurfew.start(t);
  // Counted where they are sent: the server may see the next one before the end of the one that was given up.
  let [underWay, most] = [0, 0];
  const counting = async (url, init) => {
    if (!url.endsWith('endings/probe')) return fetch(url, init);
    underWay += 1;
    most = Math.max(most, underWay);
    try {
      return await fetch(url, init);
    } finally {
      underWay -= 1;
    }
  };
  await fake.guard(t, { fetch: counting });
  fake.hanging.add('endings/probe');
  const before = fake.count('endings/probe');
  await eventually(() => fake.count('endings/probe') >= before + 6, 'others are sent');
  assert.ok(most <= 3, `${most} at the same time`);
});

test('a guard that was closed lets nothing pass and asks nobody', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  const waiting = await fake.guard(t, { isReady: false });
  const rejected = assert.rejects(waiting.ready(), { code: 'no_view' });
  guard.close();
  waiting.close();
  await rejected;
  await eventually(() => fake.streams === 0, 'the stream is closed');
  assert.equal((await guard.check(await fake.token())).status, 503);
  // Here it would ask about a token. What was on its way elsewhere when they were closed may still arrive.
  assert.equal(fake.count('oauth/introspect'), 0);
  assert.equal(guard.status().problem, 'closed');
  guard.close();
});

const program = (issuer, rest) => `
  import { createGuard } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
  const guard = createGuard(${JSON.stringify({ issuer, audience: AUDIENCE, ...CLIENT })});
  ${rest}
`;

async function run(t, text) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', text], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  return { child, exit: once(child, 'exit'), said: () => said };
}

test('a process ends when its guard is closed', async (t) => {
  const fake = await FakeCurfew.start(t);
  const { exit, said } = await run(t, program(fake.issuer, 'await guard.ready(); console.log("ready"); guard.close();'));
  assert.deepEqual([(await exit)[0], said()], [0, 'ready\n']);
});

test('a guard that cannot connect keeps no process alive, except one that waits for it', async (t) => {
  const fake = await FakeCurfew.start(t);
  fake.isDown = true;
  const { exit } = await run(t, program(fake.issuer, ''));
  assert.equal((await exit)[0], 0);
  const waiting = await run(t, program(fake.issuer, 'await guard.ready(); console.log("ready"); guard.close();'));
  await eventually(() => fake.attempts >= 10, 'both have tried');
  fake.isDown = false;
  assert.deepEqual([(await waiting.exit)[0], waiting.said()], [0, 'ready\n']);
});

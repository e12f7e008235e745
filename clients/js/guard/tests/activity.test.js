// Who made requests, as the server is told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Activity } from '../src/activity.js';
import { eventually, probesGoOn } from './eventually.js';
import { FakeClock } from './fake-clock.js';
import { FakeCurfew } from './fake-curfew.js';

const reports = (fake) => fake.probes.flatMap(({ activity = [] }) => activity);

test('a user who made requests is reported once in 15 minutes', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  const check = async () => guard.check(await fake.token({ cfw: { u: 'one', n: 1 } }));
  for (let at = 0; at < 5; at += 1) assert.ok((await check()).ok);
  await eventually(() => reports(fake).length > 0, 'it is reported');
  assert.deepEqual(reports(fake), [['one', fake.clock.seconds]]);
  fake.clock.pass(899_000);
  await check();
  await probesGoOn(fake);
  assert.equal(reports(fake).length, 1);
  fake.clock.pass(1_000);
  await eventually(() => guard.status().fresh, 'the view is fresh');
  await check();
  await eventually(() => reports(fake).length === 2, 'it is reported again');
});

test('who was refused is not reported, nor is a machine', async (t) => {
  const fake = await FakeCurfew.start(t);
  fake.end(['session', 's', fake.clock.seconds + 700]);
  const guard = await fake.guard(t);
  await guard.check(await fake.token({ sid: 's', cfw: { u: 'ended', n: 1 } }));
  await guard.check(await fake.token({ cfw: { u: 'without scope', n: 1 } }), { scopes: 'write:things' });
  await guard.check(await fake.token({ cfw: { c: 1 } }));
  await probesGoOn(fake);
  assert.deepEqual(reports(fake), []);
});

test('what did not arrive is told with the next probe', async (t) => {
  const fake = await FakeCurfew.start(t);
  const guard = await fake.guard(t);
  fake.statuses.set('endings/probe', 503);
  await guard.check(await fake.token({ cfw: { u: 'one', n: 1 } }));
  await probesGoOn(fake);
  assert.deepEqual(reports(fake), []);
  fake.statuses.clear();
  await eventually(() => reports(fake).length === 1, 'it is told');
});

test('a probe carries 1,000 at most, and what waits has an end', () => {
  const clock = new FakeClock();
  const activity = new Activity(clock);
  for (let at = 0; at < 20_000; at += 1) activity.report(`user ${at}`);
  const batches = [];
  for (let batch = activity.take(); batch.length > 0; batch = activity.take()) batches.push(batch.length);
  assert.deepEqual(batches, Array.from({ length: 10 }, () => 1_000));
  activity.report('user 19999');
  assert.equal(activity.take().length, 1, 'who found no place is not forgotten for 15 minutes');
});

test('a clock that was set back silences nobody', () => {
  const clock = new FakeClock();
  const activity = new Activity(clock);
  activity.report('one');
  assert.equal(activity.take().length, 1);
  clock.setWall(clock.wall() - 86_400_000);
  activity.report('one');
  assert.equal(activity.take().length, 1);
});

// Waiting for what a real connection brings about: polling, with a deadline.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

/** For what must happen: long, because a machine may have other things to do. */
const DEADLINE_MS = 30_000;
const TICK_MS = 20;

/** Polls until `condition` yields something true, and returns that. */
export async function eventually(condition, what) {
  const end = performance.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) assert.fail(`it did not happen within ${DEADLINE_MS} ms: ${what}`);
    await pause(5);
  }
}

/**
 * For what must not take long: milliseconds that went by while this process ran. On a machine that has other things to
 * do, ticks come late and are fewer, so that such a time is never longer than it seemed to the process.
 */
export function stopwatch(t) {
  let ticks = 0;
  const ticking = setInterval(() => {
    ticks += 1;
  }, TICK_MS);
  t.after(() => clearInterval(ticking));
  return () => ticks * TICK_MS;
}

/** Waits until the guard decides in memory. */
export const fresh = (guard) => eventually(() => guard.status().fresh, 'the view is fresh');

/** Waits while a number of probes go by. */
export async function probesGoOn(fake) {
  const before = fake.count('endings/probe');
  await eventually(() => fake.count('endings/probe') >= before + 5, 'probes go on');
}

/** Fails when `condition` has come true after a number of probes. */
export async function never(fake, condition, what) {
  await probesGoOn(fake);
  assert.ok(!(await condition()), what);
}

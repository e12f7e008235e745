// Waiting for what a real connection brings about: polling, with a deadline.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

const DEADLINE_MS = 10_000;

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

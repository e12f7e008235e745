// Ends to waiting. No timer here keeps a process alive.

import { GuardError } from './errors.js';

const timeout = (ms) => new GuardError('timeout', `no answer within ${ms} ms`);

/**
 * A signal that fires after `ms`, or with `parent`, or by `expire`. `again` begins to count anew, `stop` ends
 * the counting.
 */
export function deadline(ms, parent) {
  const controller = new AbortController();
  const expire = () => controller.abort(timeout(ms));
  const forward = () => controller.abort(parent.reason);
  let timer = setTimeout(expire, ms).unref();
  if (parent?.aborted) forward();
  parent?.addEventListener('abort', forward, { once: true });
  const stop = () => {
    clearTimeout(timer);
    parent?.removeEventListener('abort', forward);
  };
  return {
    signal: controller.signal,
    again() {
      clearTimeout(timer);
      timer = setTimeout(expire, ms).unref();
    },
    stop,
    expire() {
      stop();
      expire();
    },
  };
}

/** What `promise` comes to, or a failure after `ms`; the work itself goes on and its outcome is dropped. */
export function within(ms, promise) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(timeout(ms)), ms).unref();
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

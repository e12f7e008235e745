'use strict';
// Node's `assert`.
const { inspect } = require('node/util');
const { equal } = require('node/equal');
const { coded } = require('web/errors');

class AssertionError extends Error {
  constructor({ message, actual, expected, operator }) {
    super(message ?? `${inspect(actual)} ${operator} ${inspect(expected)}`);
    this.name = 'AssertionError';
    Object.assign(this, { generatedMessage: message === undefined, code: 'ERR_ASSERTION', actual, expected, operator });
  }
}

function check(condition, message, actual, expected, operator) {
  if (condition) return;
  if (message instanceof Error) throw message;
  throw new AssertionError({ message, actual, expected, operator });
}

function ok(value, message) {
  if (arguments.length === 0) throw new AssertionError({ message: 'No value argument passed to `assert.ok()`', operator: '==' });
  check(value, message ?? (value ? undefined : 'The expression evaluated to a falsy value'), value, true, '==');
}

function fits(error, expected, message) {
  if (expected === undefined) return;
  if (expected instanceof RegExp) { check(expected.test(String(error)), message, error, expected, 'throws'); return; }
  if (typeof expected === 'function') {
    if (expected.prototype !== undefined && error instanceof expected) return;
    if (Error.isPrototypeOf(expected)) check(false, message ?? `The error is expected to be an instance of "${expected.name}". Received "${error?.name}"`, error, expected, 'throws');
    check(expected.call({}, error) === true, message, error, expected, 'throws');
    return;
  }
  for (const key of [...Object.keys(expected), ...(expected instanceof Error ? ['name', 'message'] : [])]) {
    const matches = expected[key] instanceof RegExp && typeof error[key] === 'string' ? expected[key].test(error[key]) : equal(error[key], expected[key], true);
    check(matches, message, error, expected, 'throws');
  }
}
const split = (expected, message) => (typeof expected === 'string' ? [undefined, expected] : [expected, message]);

function throws(run, expected, message) {
  const [wanted, text] = split(expected, message);
  let thrown;
  try { run(); } catch (error) { thrown = { error }; }
  check(thrown, text ?? 'Missing expected exception.', undefined, wanted, 'throws');
  fits(thrown.error, wanted, text);
}
async function rejects(run, expected, message) {
  const [wanted, text] = split(expected, message);
  let thrown;
  try { await (typeof run === 'function' ? run() : run); } catch (error) { thrown = { error }; }
  check(thrown, text ?? 'Missing expected rejection.', undefined, wanted, 'rejects');
  fits(thrown.error, wanted, text);
}

const comparisons = {
  equal: [(one, other) => one == other, '=='], // eslint-disable-line eqeqeq
  notEqual: [(one, other) => one != other, '!='], // eslint-disable-line eqeqeq
  strictEqual: [(one, other) => Object.is(one, other), 'strictEqual'],
  notStrictEqual: [(one, other) => !Object.is(one, other), 'notStrictEqual'],
  deepEqual: [(one, other) => equal(one, other, false), 'deepEqual'],
  notDeepEqual: [(one, other) => !equal(one, other, false), 'notDeepEqual'],
  deepStrictEqual: [(one, other) => equal(one, other, true), 'deepStrictEqual'],
  notDeepStrictEqual: [(one, other) => !equal(one, other, true), 'notDeepStrictEqual'],
};

const assert = (...values) => ok(...values);
Object.assign(assert, {
  AssertionError, ok, throws, rejects,
  fail(message = 'Failed') { check(false, message, undefined, undefined, 'fail'); },
  ifError(value) { if (value !== null && value !== undefined) throw value; },
  match(text, pattern, message) { check(typeof text === 'string' && pattern.test(text), message, text, pattern, 'match'); },
  doesNotMatch(text, pattern, message) { check(!(typeof text === 'string' && pattern.test(text)), message, text, pattern, 'doesNotMatch'); },
  doesNotThrow(run, _expected, message) { try { run(); } catch (error) { check(false, message ?? `Got unwanted exception.\n${error?.message}`, error, undefined, 'doesNotThrow'); } },
  async doesNotReject(run, _expected, message) {
    try { await (typeof run === 'function' ? run() : run); } catch (error) { check(false, message ?? `Got unwanted rejection.\n${error?.message}`, error, undefined, 'doesNotReject'); }
  },
});
for (const [name, [holds, operator]] of Object.entries(comparisons)) {
  assert[name] = (actual, expected, message) => check(holds(actual, expected), message, actual, expected, operator);
}
assert.strict = Object.assign((...values) => ok(...values), assert, {
  equal: assert.strictEqual, notEqual: assert.notStrictEqual, deepEqual: assert.deepStrictEqual, notDeepEqual: assert.notDeepStrictEqual,
});
assert.strict.strict = assert.strict;
Object.defineProperty(assert, 'CallTracker', { get() { throw coded(Error, 'ERR_FEATURE_UNAVAILABLE', 'assert.CallTracker is not available in Actions.'); }, configurable: true });
module.exports = assert;

// What can be configured, and what cannot.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGuard } from '../src/index.js';

const good = { issuer: 'https://login.example/', audience: 'https://api.example/', clientId: 'a', clientSecret: 'b' };

const wrong = {
  'no setting lets a token pass that may have ended': { stale: 'allow' },
  'a lease cannot be switched off': { leaseSeconds: 0 },
  'a lease has an end': { leaseSeconds: 61 },
  'a lease is no text': { leaseSeconds: '10' },
  'a lease is not infinite': { leaseSeconds: Infinity },
  'an option that is misspelt is not passed over': { leaseSecond: 5 },
  'an issuer is needed': { issuer: undefined },
  'an issuer is a URL': { issuer: 'login.example' },
  'an issuer has no query': { issuer: 'https://login.example/?a' },
  'an issuer is on the web': { issuer: 'file:///etc/' },
  'an audience is needed': { audience: '' },
  'a guard is somebody': { clientSecret: undefined },
  'a guard is one somebody': { getToken: () => 'x' },
  'a tolerance has an end': { clockToleranceSeconds: 3600 },
  'a name has an end': { name: 'x'.repeat(101) },
  'a scope is a word': { scopes: ['read things'] },
  'a scope cannot break out of a header': { scopes: ['a"b'] },
  'a callback is a function': { onStatus: 'log' },
  'a clock has two hands': { clock: { wall: Date.now } },
};

for (const [rule, more] of Object.entries(wrong)) {
  test(rule, () => {
    assert.throws(() => createGuard({ ...good, ...more }), TypeError);
  });
}

test('scopes of one route are checked when the route is made', (t) => {
  const guard = createGuard({ ...good, fetch: () => Promise.reject(new TypeError('no network')) });
  t.after(() => guard.close());
  assert.throws(() => guard.express({ scopes: ['a"b'] }), TypeError);
  assert.throws(() => guard.fastify({ scopes: 7 }), TypeError);
  assert.throws(() => guard.fetch(() => new Response(), { scopes: [''] }), TypeError);
});

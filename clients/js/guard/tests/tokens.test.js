// What a guard checks itself, in the order of docs/guards.md.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SignJWT } from 'jose';
import { stopwatch } from './eventually.js';
import { AUDIENCE, FakeCurfew } from './fake-curfew.js';

const refused = (answer, description) => {
  assert.deepEqual({ ...answer, description: '', challenge: '' }, { ok: false, status: 401, error: 'invalid_token', description: '', challenge: '', retryAfter: null });
  assert.match(answer.description, description);
  assert.equal(answer.challenge, `Bearer error="invalid_token", error_description="${answer.description}"`);
};

describe('a token', () => {
  test('that is good passes, and its claims come back', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const answer = await guard.check(await fake.token({ sub: 'auth0|me' }));
    assert.equal(answer.ok, true);
    assert.equal(answer.claims.sub, 'auth0|me');
    for (const header of [{ typ: 'at+jwt' }, { typ: 'application/at+jwt' }, { typ: 'AT+JWT' }]) assert.ok((await guard.check(await fake.token({}, header))).ok);
    for (const claims of [{ aud: ['https://login.example/userinfo', AUDIENCE] }, { exp: fake.clock.seconds - 4 }, { iat: fake.clock.seconds + 5 }]) {
      assert.ok((await guard.check(await fake.token(claims))).ok, JSON.stringify(claims));
    }
  });

  test('may be signed by every kind of key pair', async (t) => {
    const fake = await FakeCurfew.start(t);
    const keys = [];
    for (const alg of ['RS256', 'PS256', 'EdDSA']) keys.push(await fake.addKey(`key ${alg}`, alg));
    const guard = await fake.guard(t);
    for (const key of keys) assert.ok((await guard.check(await fake.token({}, { key }))).ok, key.alg);
  });

  const now = Math.floor(Date.now() / 1000);
  const claims = {
    'of another issuer': [{ iss: 'https://another.example/' }, /another issuer/],
    'for another API': [{ aud: 'https://another.example/' }, /another API/],
    'for other APIs': [{ aud: ['https://another.example/'] }, /another API/],
    'for nobody': [{ aud: undefined }, /another API/],
    'that has expired': [{ exp: now - 6 }, /expired/],
    'without an end': [{ exp: undefined }, /malformed/],
    'with an end that is no number': [{ exp: 'never' }, /malformed/],
    'from the future': [{ iat: now + 60 }, /future/],
    'not to be used yet': [{ nbf: now + 60 }, /future/],
    'without a beginning': [{ iat: undefined }, /malformed/],
  };
  for (const [name, [more, description]] of Object.entries(claims)) {
    test(`${name} is refused`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t);
      refused(await guard.check(await fake.token(more)), description);
    });
  }

  const headers = {
    'that is an ID token by its type': { typ: 'id_token' },
    'that is a logout token': { typ: 'logout+jwt' },
    'without a type': { typ: undefined },
  };
  for (const [name, header] of Object.entries(headers)) {
    test(`${name} is refused`, async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t);
      refused(await guard.check(await fake.token({}, header)), /kind/);
    });
  }

  test('that nobody signed, or with a secret that everybody knows, is refused', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const [, payload] = (await fake.token()).split('.');
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const alg of ['none', 'None', 'nOnE']) refused(await guard.check(`${part({ alg, typ: 'JWT', kid: 'key-1' })}.${payload}.`), /kind/);
    const secret = new TextEncoder().encode(JSON.stringify(fake.keys[0].jwk));
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      const token = await new SignJWT(JSON.parse(Buffer.from(payload, 'base64url'))).setProtectedHeader({ alg, typ: 'JWT', kid: 'key-1' }).sign(secret);
      refused(await guard.check(token), /kind/);
    }
  });

  test('that was changed is refused', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const [header, payload, signature] = (await fake.token()).split('.');
    const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), scope: 'write:things' };
    refused(await guard.check([header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')), /signature/);
    const other = await fake.addKey('another');
    refused(await guard.check(await fake.token({}, { key: other, kid: 'key-1' })), /signature/);
  });

  test('that is not one is refused', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const [header, , signature] = (await fake.token()).split('.');
    for (const token of ['x', 'a.b.c', '..', `${header}..${signature}`, `${header}.e30.`, 'x'.repeat(20_000), `${header}.${'A'.repeat(40)}.${signature}`]) {
      assert.equal((await guard.check(token)).status, 401, token.slice(0, 50));
    }
    const critical = await new SignJWT({}).setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: 'key-1', b64: true, crit: ['b64'] }).sign(fake.keys[0].privateKey);
    refused(await guard.check(critical), /kind/);
  });

  test('that is missing is asked for, without a word more', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    for (const token of [undefined, null, '']) {
      const answer = await guard.check(token);
      assert.deepEqual([answer.ok, answer.status, answer.error, answer.challenge], [false, 401, null, 'Bearer']);
    }
  });
});

describe('scopes', () => {
  test('are all needed: those of the guard, and those of the route', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t, { scopes: 'read:things' });
    const withScope = async (scope, scopes) => guard.check(await fake.token({ scope }), { scopes });
    assert.ok((await withScope('openid read:things')).ok);
    assert.ok((await withScope('read:things write:things', ['write:things'])).ok);
    const answer = await withScope('read:things', ['write:things']);
    assert.deepEqual([answer.status, answer.error, answer.challenge], [403, 'insufficient_scope', 'Bearer error="insufficient_scope", scope="read:things write:things"']);
    for (const scope of [undefined, '', 'read:thing', 'read:things2', ['read:things']]) assert.equal((await withScope(scope)).status, 403, String(scope));
  });

  test('are looked at last: what has ended is not told which it lacked', async (t) => {
    const fake = await FakeCurfew.start(t);
    fake.end(['session', 's', fake.clock.seconds + 700]);
    const guard = await fake.guard(t);
    assert.equal((await guard.check(await fake.token({ sid: 's' }), { scopes: 'write:things' })).status, 401);
  });
});

describe('keys', () => {
  test('an unknown one is fetched for, at most once in 30 seconds', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const fetched = () => fake.count('.well-known/jwks.json');
    assert.equal(fetched(), 1);
    const later = await fake.addKey('key-2');
    assert.ok((await guard.check(await fake.token({}, { key: later }))).ok, 'a new key is found');
    assert.equal(fetched(), 2);
    for (let at = 0; at < 5; at += 1) refused(await guard.check(await fake.token({}, { kid: `made up ${at}` })), /key of the issuer/);
    assert.equal(fetched(), 2);
    fake.clock.pass(29_000);
    await guard.check(await fake.token({}, { kid: 'made up' }));
    assert.equal(fetched(), 2);
    fake.clock.pass(1_000);
    await Promise.all([1, 2, 3].map(async () => guard.check(await fake.token({}, { kid: 'made up' }))));
    assert.equal(fetched(), 3);
  });

  test('where they cannot be fetched nothing is known, and a request does not wait for ever', async (t) => {
    const fake = await FakeCurfew.start(t);
    fake.hanging.add('.well-known/jwks.json');
    const guard = await fake.guard(t, { isReady: false });
    const elapsedMs = stopwatch(t);
    const answer = await guard.check(await fake.token());
    assert.deepEqual([answer.status, answer.challenge, answer.retryAfter], [503, null, 1]);
    assert.ok(elapsedMs() < 6_000);
  });

  test('a kid that is no text finds no key', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    for (const kid of [undefined, 7, null]) refused(await guard.check(await fake.token({}, { kid })), /./);
  });
});

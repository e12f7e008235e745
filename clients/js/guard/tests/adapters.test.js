// The frameworks, as they are published.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';
import fastify from 'fastify';
import { fresh } from './eventually.js';
import { AUDIENCE, FakeCurfew, caughtUp } from './fake-curfew.js';

const SCOPES = { scopes: ['write:things'] };

/** Each puts `/things` behind the guard and `/things/new` behind a scope as well, and answers with `request.auth`. */
const frameworks = {
  async express(t, guard) {
    const application = express();
    application.get('/things', guard.express(), (request, response) => response.json(request.auth));
    application.get('/things/new', guard.express(SCOPES), (request, response) => response.json(request.auth));
    return listen(t, application);
  },

  async 'express, for all of the application'(t, guard) {
    const application = express();
    application.use(guard.express());
    application.get('/things', (request, response) => response.json(request.auth));
    application.get('/things/new', guard.express(SCOPES), (request, response) => response.json(request.auth));
    return listen(t, application);
  },

  async fastify(t, guard) {
    const application = fastify();
    application.get('/things', { onRequest: guard.fastify() }, async (request) => request.auth);
    application.get('/things/new', { preHandler: guard.fastify(SCOPES) }, async (request) => request.auth);
    t.after(() => application.close());
    const origin = await application.listen({ port: 0, host: '127.0.0.1' });
    return (path, headers) => fetch(origin + path, { headers });
  },

  async 'fastify, for all of the application'(t, guard) {
    const application = fastify();
    application.addHook('onRequest', guard.fastify());
    application.get('/things', async (request) => request.auth);
    application.get('/things/new', { preHandler: guard.fastify(SCOPES) }, async (request) => request.auth);
    t.after(() => application.close());
    const origin = await application.listen({ port: 0, host: '127.0.0.1' });
    return (path, headers) => fetch(origin + path, { headers });
  },

  async 'a fetch handler'(_t, guard) {
    const things = guard.fetch((request, environment) => Response.json({ ...request.auth, environment }));
    const more = guard.fetch(async (request) => Response.json(request.auth), SCOPES);
    return (path, headers) => (path === '/things' ? things : more)(new Request(`https://api.example${path}`, { headers }), { a: 1 });
  },
};

async function listen(t, application) {
  const server = application.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (path, headers) => fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers });
}

const seen = async (answer) => ({
  status: answer.status,
  challenge: answer.headers.get('www-authenticate'),
  retryAfter: answer.headers.get('retry-after'),
  body: answer.headers.get('content-type')?.startsWith('application/json') ? await answer.json() : await answer.text(),
});

for (const [name, behind] of Object.entries(frameworks)) {
  describe(name, () => {
    test('answers as the protocol says', async (t) => {
      const fake = await FakeCurfew.start(t);
      const guard = await fake.guard(t, { stale: 'refuse' });
      const ask = await behind(t, guard);
      const token = await fake.token({ sid: 's' });
      const bearer = (value) => ({ authorization: `Bearer ${value}` });

      const passed = await ask('/things', bearer(token));
      assert.equal(passed.status, 200);
      const { payload, header, token: given, ...more } = await passed.json();
      assert.equal(payload.sid, 's');
      assert.deepEqual(header, { alg: 'ES256', typ: 'JWT', kid: 'key-1' });
      assert.equal(given, token);
      assert.deepEqual(more, name === 'a fetch handler' ? { environment: { a: 1 } } : {});
      assert.equal((await ask('/things', { authorization: `bearer  ${token}` })).status, 200, 'the scheme has no case');
      assert.equal((await ask('/things/new', bearer(await fake.token({ scope: 'write:things' })))).status, 200);

      for (const headers of [{}, { authorization: 'Basic YTpi' }, { authorization: 'Bearer' }, { authorization: 'Bearer a b' }]) {
        assert.deepEqual(await seen(await ask('/things', headers)), { status: 401, challenge: 'Bearer', retryAfter: null, body: '' });
      }
      const invalid = await seen(await ask('/things', bearer('nonsense')));
      assert.deepEqual(invalid, {
        status: 401,
        challenge: 'Bearer error="invalid_token", error_description="The access token is malformed."',
        retryAfter: null,
        body: { error: 'invalid_token', error_description: 'The access token is malformed.' },
      });
      const missing = await seen(await ask('/things/new', bearer(token)));
      assert.equal(missing.status, 403);
      assert.equal(missing.challenge, 'Bearer error="insufficient_scope", scope="write:things"');
      assert.equal(missing.body.error, 'insufficient_scope');

      fake.end(['session', 's', fake.clock.seconds + 700]);
      await caughtUp(fake, guard);
      const ended = await seen(await ask('/things', bearer(token)));
      assert.deepEqual(ended, {
        status: 401,
        challenge: 'Bearer error="invalid_token", error_description="The access token has ended."',
        retryAfter: null,
        body: { error: 'invalid_token', error_description: 'The access token has ended.' },
      });

      guard.close();
      const unavailable = await seen(await ask('/things', bearer(token)));
      assert.deepEqual([unavailable.status, unavailable.challenge, unavailable.retryAfter, unavailable.body.error], [503, null, '1', 'temporarily_unavailable']);
    });
  });
}

describe('behind express-oauth2-jwt-bearer', () => {
  async function start(t, guard, fake) {
    const application = express();
    application.use(auth({ issuer: fake.issuer, jwksUri: `${fake.issuer}.well-known/jwks.json`, audience: AUDIENCE, tokenSigningAlg: 'ES256' }));
    application.use(guard.express());
    application.get('/things', requiredScopes('read:things'), (request, response) => response.json(request.auth));
    application.get('/things/new', guard.express(SCOPES), (request, response) => response.json(request.auth));
    application.use((error, _request, response, _next) => response.status(error.status).set(error.headers).end('the other'));
    return listen(t, application);
  }

  test('a token is verified once, and refused when it has ended', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const ask = await start(t, guard, fake);
    const token = await fake.token({ sid: 's' });
    const bearer = { authorization: `Bearer ${token}` };
    assert.equal((await ask('/things', bearer)).status, 200);
    assert.equal((await ask('/things/new', bearer)).status, 403);
    const fetched = fake.count('.well-known/jwks.json');
    const later = await fake.addKey('key-2');
    const another = await ask('/things', { authorization: `Bearer ${await fake.token({}, { key: later })}` });
    assert.equal(another.status, 401);
    assert.equal(await another.text(), 'the other', 'what the other refuses does not come here');
    fake.clock.pass(31_000);
    await fresh(guard);
    fake.end(['session', 's', fake.clock.seconds + 700]);
    await caughtUp(fake, guard);
    const answer = await ask('/things', bearer);
    assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, 'Bearer error="invalid_token", error_description="The access token has ended."']);
    assert.equal(fake.count('.well-known/jwks.json'), fetched, 'this guard has not asked for keys');
  });

  test('everything but the signature is still checked here', async (t) => {
    const fake = await FakeCurfew.start(t);
    const guard = await fake.guard(t);
    const good = { payload: { iss: fake.issuer, aud: AUDIENCE, iat: fake.clock.seconds, exp: fake.clock.seconds + 60 }, header: { alg: 'RS256', typ: 'JWT', kid: 'k' }, token: 'a.b.c' };
    const handle = guard.express();
    const decide = (authentication) => new Promise((resolve, reject) => {
      const headers = {};
      handle(
        { headers: {}, auth: authentication },
        { setHeader: (name, value) => { headers[name] = value; }, end() { resolve([this.statusCode, headers['www-authenticate']]); } },
        (error) => (error ? reject(error) : resolve('passed')),
      );
    });
    assert.equal(await decide(good), 'passed');
    for (const more of [
      { payload: { ...good.payload, iss: 'https://another.example/' } }, { payload: { ...good.payload, aud: 'another' } },
      { payload: { ...good.payload, exp: fake.clock.seconds - 60 } }, { header: { ...good.header, alg: 'HS256' } }, { header: { ...good.header, typ: 'x' } },
    ]) {
      assert.equal((await decide({ ...good, ...more }))[0], 401, JSON.stringify(more));
    }
    for (const other of [good.payload, { payload: good.payload }, 'x', null, true]) {
      assert.deepEqual(await decide(other), [401, 'Bearer'], 'what is not of that middleware was verified by nobody');
    }
  });
});

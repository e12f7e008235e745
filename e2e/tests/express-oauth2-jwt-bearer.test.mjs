// express-oauth2-jwt-bearer: an API that checks Curfew's access tokens by itself.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createMachineClient } from '../lib/setup.mjs';
import { openSite } from '../lib/site.mjs';

onEachEngine('express-oauth2-jwt-bearer', (engine) => {
  let curfew;
  let api;
  let site;
  before(async () => {
    curfew = await startCurfew(engine);
    api = await createApi(curfew);
    const application = express();
    application.use(auth({ issuerBaseURL: curfew.issuer, audience: api.identifier, tokenSigningAlg: 'RS256' }));
    application.get('/things', requiredScopes('read:things'), (request, response) => response.json(request.auth.payload));
    application.use((error, _request, response, _next) => response.status(error.status).set(error.headers).end());
    site = await openSite('localhost', application);
  });
  after(async () => {
    await site?.close();
    await curfew?.stop();
  });

  async function token(resourceServer, scope) {
    const { client_id, client_secret } = await createMachineClient(curfew, resourceServer.identifier, scope);
    const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', audience: resourceServer.identifier, client_id, client_secret }) });
    return (await answer.json()).access_token;
  }
  const things = (accessToken) => fetch(`${site.origin}/things`, { headers: accessToken ? { authorization: `Bearer ${accessToken}` } : {} });

  test('lets a token for it with the scope pass', async () => {
    const answer = await things(await token(api, ['read:things']));
    assert.equal(answer.status, 200);
    const payload = await answer.json();
    assert.equal(payload.iss, curfew.issuer);
    assert.equal(payload.scope, 'read:things');
  });

  test('refuses a token without the scope', async () => {
    const answer = await things(await token(api, ['write:things']));
    assert.equal(answer.status, 403);
    assert.match(answer.headers.get('www-authenticate'), /error="insufficient_scope"/);
  });

  test('refuses a token for another API', async () => {
    const answer = await things(await token(await createApi(curfew), ['read:things']));
    assert.equal(answer.status, 401);
    assert.match(answer.headers.get('www-authenticate'), /error="invalid_token".*Unexpected 'aud' value/);
  });

  test('refuses a token whose claims were changed, and a request without one', async () => {
    const [header, payload, signature] = (await token(api, ['write:things'])).split('.');
    const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), scope: 'read:things' };
    const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    const answer = await things(forged);
    assert.equal(answer.status, 401);
    assert.match(answer.headers.get('www-authenticate'), /signature verification failed/);
    assert.equal((await things()).status, 401);
  });

  test('a profile of RFC 9068 passes its strict checks', async () => {
    const strict = await createApi(curfew, { token_dialect: 'rfc9068_profile' });
    const application = express();
    application.use(auth({ issuerBaseURL: curfew.issuer, audience: strict.identifier, strict: true }));
    application.get('/things', (request, response) => response.json(request.auth.header));
    application.use((error, _request, response, _next) => response.status(error.status).send(error.message));
    const strictSite = await openSite('localhost', application);
    const ask = async (resourceServer) => fetch(`${strictSite.origin}/things`, { headers: { authorization: `Bearer ${await token(resourceServer, ['read:things'])}` } });
    const answer = await ask(strict);
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.equal((await answer.json()).typ, 'at+jwt');
    await strictSite.close();
  });
});

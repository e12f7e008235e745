// An API that goes by Token Status Lists alone: `jose` checks the signatures, Node's own zlib opens the list.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { inflateSync } from 'node:zlib';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { newPerson, openBrowser } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createMachineClient, createUser, createWebClient } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

/** A list is shared for a second by those who fetch it. */
const SHARED_MS_MAX = 5_000;

onEachEngine('status lists', (engine) => {
  let curfew;
  let browser;
  let site;
  let api;
  let keys;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    site = await openSite('app.localhost', blank);
    api = await createApi(curfew, { token_status_list: { enabled: true } });
    keys = createRemoteJWKSet(new URL(`${curfew.issuer}.well-known/jwks.json`));
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    await curfew?.stop();
  });

  /** The status of an access token, as the specification has a relying party find it. */
  async function status(accessToken) {
    const { payload } = await jwtVerify(accessToken, keys, { issuer: curfew.issuer, audience: api.identifier });
    const { uri, idx } = payload.status.status_list;
    const answer = await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/statuslist+jwt');
    const list = await jwtVerify(await answer.text(), keys, { typ: 'statuslist+jwt', subject: uri });
    assert.ok(list.payload.exp > list.payload.iat + list.payload.ttl);
    const { bits, lst } = list.payload.status_list;
    assert.equal(bits, 1);
    const bytes = inflateSync(Buffer.from(lst, 'base64url'));
    assert.ok(idx < bytes.length * 8, 'the index is in the list');
    return (bytes[idx >> 3] >> (idx & 7)) & 1;
  }

  async function untilInvalid(t, accessToken) {
    const began = performance.now();
    while ((await status(accessToken)) !== 1) {
      assert.ok(performance.now() - began < SHARED_MS_MAX, 'the list still says that the token is valid');
      await pause(50);
    }
    t.diagnostic(`in the list after ${(performance.now() - began).toFixed(0)} ms`);
  }

  test('a blocked person’s token, and nobody else’s, becomes invalid', async (t) => {
    const client = await createWebClient(curfew, site.origin);
    const configuration = await discover(curfew, client);
    const signIn = async () => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const flow = await codeFlow(configuration, person, { user, redirect_uri: `${site.origin}/callback`, audience: api.identifier, scope: 'openid read:things' });
      return { user, token: flow.tokens.access_token };
    };
    const [ada, bob] = [await signIn(), await signIn()];
    assert.deepEqual([await status(ada.token), await status(bob.token)], [0, 0]);
    await curfew.management.users.update(ada.user.user_id, { blocked: true });
    await untilInvalid(t, ada.token);
    assert.equal(await status(bob.token), 0);
  });

  test('a machine’s token becomes invalid with its client', async (t) => {
    const { client_id, client_secret } = await createMachineClient(curfew, api.identifier, ['read:things']);
    const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', audience: api.identifier, client_id, client_secret }) });
    const { access_token: token } = await answer.json();
    assert.equal(await status(token), 0);
    await curfew.management.clients.delete(client_id);
    await untilInvalid(t, token);
  });

  test('all lists can be found by the metadata', async () => {
    const metadata = await (await fetch(`${curfew.issuer}.well-known/oauth-authorization-server`)).json();
    const { status_lists: lists } = await (await fetch(metadata.status_list_aggregation_endpoint)).json();
    assert.equal(lists.length, 1);
    await jwtVerify(await (await fetch(lists[0])).text(), keys, { typ: 'statuslist+jwt', subject: lists[0] });
  });
});

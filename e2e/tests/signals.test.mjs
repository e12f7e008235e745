// `jose` as a receiver of the Shared Signals Framework: it finds the transmitter, makes streams, and checks what it is told.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createMachineClient, createUser } from '../lib/setup.mjs';
import { openSite } from '../lib/site.mjs';

const REVOKED = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked';
const DISABLED = 'https://schemas.openid.net/secevent/risc/event-type/account-disabled';
const VERIFICATION = 'https://schemas.openid.net/secevent/ssf/event-type/verification';

onEachEngine('a receiver of security events', (engine) => {
  let curfew;
  let transmitter;
  let client;
  before(async () => {
    curfew = await startCurfew(engine);
    const discovered = await fetch(new URL('/.well-known/ssf-configuration', curfew.issuer));
    assert.equal(discovered.status, 200);
    transmitter = await discovered.json();
    assert.equal(transmitter.issuer, curfew.issuer);
    client = await createMachineClient(curfew, `${curfew.issuer}api/v2/`, ['ssf.manage', 'ssf.read']);
  });
  after(() => curfew?.stop());

  async function token() {
    const answer = await fetch(`${curfew.issuer}oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials', client_id: client.client_id, client_secret: client.client_secret, audience: `${curfew.issuer}api/v2/`,
      }),
    });
    assert.equal(answer.status, 200);
    return (await answer.json()).access_token;
  }

  async function call(url, body, method = 'POST') {
    const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' };
    return fetch(url, { method, headers, body: JSON.stringify(body) });
  }

  /** The claims of a token that `jose` finds to be a security event of this transmitter for this receiver. */
  async function check(set) {
    const keys = createRemoteJWKSet(new URL(transmitter.jwks_uri));
    const { payload } = await jwtVerify(set, keys, {
      issuer: transmitter.issuer, audience: client.client_id, typ: 'secevent+jwt', algorithms: ['RS256'], requiredClaims: ['jti', 'iat', 'sub_id', 'events'],
    });
    assert.equal(payload.exp, undefined);
    assert.equal(payload.sub, undefined);
    return payload;
  }

  const iss_sub = (user) => ({ format: 'iss_sub', iss: transmitter.issuer, sub: user.user_id });

  test('is pushed what it asked for, and the verification that it triggers', async (t) => {
    const sets = [];
    const site = await openSite('localhost', async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      sets.push({ headers: request.headers, body });
      response.writeHead(202).end();
      site.told();
    });
    t.after(() => site.close());
    const arrived = (count) => new Promise((resolve) => {
      site.told = () => sets.length >= count && resolve();
      site.told();
    });
    const stream = await call(transmitter.configuration_endpoint, {
      delivery: { method: 'urn:ietf:rfc:8935', endpoint_url: `${site.origin}/events`, authorization_header: 'Bearer let-me-in' },
      events_requested: [REVOKED, DISABLED],
    });
    assert.equal(stream.status, 201);
    const { stream_id, iss, aud } = await stream.json();
    assert.deepEqual([iss, aud], [transmitter.issuer, client.client_id]);
    site.told = () => {};
    assert.equal((await call(transmitter.verification_endpoint, { stream_id, state: 'is it you?' })).status, 204);
    await arrived(1);
    const verification = await check(sets[0].body);
    assert.deepEqual(verification.sub_id, { format: 'opaque', id: stream_id });
    assert.deepEqual(verification.events, { [VERIFICATION]: { state: 'is it you?' } });
    const user = await createUser(curfew);
    await curfew.management.users.update(user.user_id, { blocked: true });
    await arrived(3);
    for (const { headers } of sets) {
      assert.equal(headers['content-type'], 'application/secevent+jwt');
      assert.equal(headers.accept, 'application/json');
      assert.equal(headers.authorization, 'Bearer let-me-in');
    }
    const told = await Promise.all(sets.slice(1).map(({ body }) => check(body)));
    assert.deepEqual(told.flatMap(({ events }) => Object.keys(events)).sort(), [REVOKED, DISABLED]);
    for (const { sub_id, txn } of told) {
      assert.deepEqual(sub_id, iss_sub(user));
      assert.equal(txn, told[0].txn);
    }
    const { [REVOKED]: revoked } = told.find(({ events }) => REVOKED in events).events;
    assert.equal(revoked.initiating_entity, 'admin');
    assert.ok(revoked.reason_admin.en);
    assert.ok(Math.abs(revoked.event_timestamp - Date.now() / 1000) < 60);
  });

  test('polls, and is answered when something ends', async () => {
    const made = await call(transmitter.configuration_endpoint, { events_requested: [DISABLED] });
    assert.equal(made.status, 201);
    const { delivery, stream_id } = await made.json();
    assert.equal(delivery.method, 'urn:ietf:rfc:8936');
    const user = await createUser(curfew);
    const polling = call(delivery.endpoint_url, { maxEvents: 10 });
    await curfew.management.users.update(user.user_id, { blocked: true });
    const { sets } = await (await polling).json();
    const [[jti, set]] = Object.entries(sets);
    const told = await check(set);
    assert.equal(told.jti, jti);
    assert.deepEqual(told.sub_id, iss_sub(user));
    const rest = await call(delivery.endpoint_url, { ack: [jti], returnImmediately: true });
    assert.deepEqual(await rest.json(), { sets: {} });
    assert.equal((await call(`${transmitter.configuration_endpoint}?stream_id=${stream_id}`, undefined, 'DELETE')).status, 204);
  });
});

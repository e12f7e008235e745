// `clients/python/guard` before Starlette and Flask: what ends at Curfew ends there, within a second.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { newPerson, openBrowser } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { CONNECTION, createApi, createMachineClient, createPasswordClient, createUser, createWebClient } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

const REACHED_WITHIN_MS = 1_000;

/** The two APIs of `python/guarded_apis.py`: their addresses, and the way to end them. */
async function startApis(environment) {
  const python = spawn(process.env.CURFEW_E2E_PYTHON, ['-B', 'guarded_apis.py'], {
    cwd: join(import.meta.dirname, '../python'),
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, PYTHONPATH: join(import.meta.dirname, '../../clients/python/guard/src'), ...environment },
  });
  const exited = once(python, 'exit');
  const first = await Promise.race([
    once(createInterface(python.stdout), 'line').then(([line]) => line),
    exited.then(([code]) => { throw new Error(`the guarded APIs did not start: ${code}`); }),
  ]);
  const ports = JSON.parse(first);
  return {
    places: Object.entries(ports).map(([name, port]) => ({ name, url: `http://127.0.0.1:${port}/things` })),
    async stop() {
      python.stdin.end();
      const [code] = await exited;
      assert.equal(code, 0);
    },
  };
}

onEachEngine('curfew-guard for Python', (engine) => {
  let curfew;
  let management;
  let browser;
  let site;
  let api;
  let apis;
  before(async () => {
    curfew = await startCurfew(engine);
    ({ management } = curfew);
    browser = await openBrowser();
    site = await openSite('app.localhost', blank);
    api = await createApi(curfew);
    const guard = await createMachineClient(curfew, api.identifier, ['curfew:guard']);
    apis = await startApis({
      CURFEW_ISSUER: curfew.issuer,
      CURFEW_AUDIENCE: api.identifier,
      CURFEW_CLIENT_ID: guard.client_id,
      CURFEW_CLIENT_SECRET: guard.client_secret,
    });
  });
  after(async () => {
    await apis?.stop();
    await browser?.close();
    await site?.close();
    await curfew?.stop();
  });

  const things = ({ url }, accessToken) => fetch(url, { headers: accessToken ? { authorization: `Bearer ${accessToken}` } : {} });

  async function tokenOf(parameters) {
    const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ audience: api.identifier, ...parameters }) });
    const { access_token, error_description } = await answer.json();
    assert.equal(answer.status, 200, error_description);
    return access_token;
  }

  /** Shows that the token works, ends something, and waits until neither API takes the token any more. */
  async function endsEverywhere(t, accessToken, end, withinMs = REACHED_WITHIN_MS) {
    for (const place of apis.places) {
      const answer = await things(place, accessToken);
      assert.equal(answer.status, 200, `${place.name} before: ${await answer.clone().text()}`);
    }
    await end();
    const ended = performance.now();
    await Promise.all(apis.places.map(async (place) => {
      let answer;
      do {
        answer = await things(place, accessToken);
      } while (answer.status === 200 && performance.now() - ended < withinMs);
      const milliseconds = performance.now() - ended;
      assert.equal(answer.status, 401, `${place.name} after ${milliseconds} ms`);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer error="invalid_token", error_description="The access token has ended."');
      assert.equal((await answer.json()).error, 'invalid_token');
      t.diagnostic(`${place.name} refused after ${milliseconds.toFixed(1)} ms`);
    }));
  }

  async function logIn(user, scope = 'openid read:things') {
    const { client_id, client_secret } = await createPasswordClient(curfew);
    return tokenOf({ grant_type: 'http://auth0.com/oauth/grant-type/password-realm', realm: CONNECTION, username: user.email, password: user.password, scope, client_id, client_secret });
  }

  test('no token, and one without the scope', async () => {
    const { client_id, client_secret } = await createMachineClient(curfew, api.identifier, ['write:things']);
    const token = await tokenOf({ grant_type: 'client_credentials', client_id, client_secret });
    for (const place of apis.places) {
      const without = await things(place);
      assert.equal(without.status, 401);
      assert.equal(without.headers.get('www-authenticate'), 'Bearer');
      const answer = await things(place, token);
      assert.equal(answer.status, 403);
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer error="insufficient_scope", scope="read:things"');
    }
  });

  test('a blocked user', async (t) => {
    const [user, other] = [await createUser(curfew), await createUser(curfew)];
    const [token, others] = [await logIn(user), await logIn(other)];
    await endsEverywhere(t, token, () => management.users.update(user.user_id, { blocked: true }));
    for (const place of apis.places) assert.equal((await things(place, others)).status, 200, 'nobody else is touched');
  });

  test('a deleted session', async (t) => {
    const client = await createWebClient(curfew, site.origin);
    const configuration = await discover(curfew, client);
    const flow = async () => {
      const person = await newPerson(browser, t);
      const { tokens } = await codeFlow(configuration, person, { user, redirect_uri: `${site.origin}/callback`, audience: api.identifier, scope: 'openid read:things' });
      return { token: tokens.access_token, sid: tokens.claims().sid };
    };
    const user = await createUser(curfew);
    const [here, there] = [await flow(), await flow()];
    await endsEverywhere(t, here.token, () => management.sessions.delete(here.sid));
    for (const place of apis.places) assert.equal((await things(place, there.token)).status, 200, 'the other session goes on');
  });

  test('a deleted client grant', async (t) => {
    const { client_id, client_secret, grant } = await createMachineClient(curfew, api.identifier, ['read:things']);
    const token = await tokenOf({ grant_type: 'client_credentials', client_id, client_secret });
    await endsEverywhere(t, token, () => management.clientGrants.delete(grant.id));
  });

  test('deleted refresh tokens, about which a guard has to ask', async () => {
    const user = await createUser(curfew);
    const [behind, without] = [await logIn(user, 'openid read:things offline_access'), await logIn(user)];
    const [refusing, asking] = ['starlette', 'flask'].map((wanted) => apis.places.find(({ name }) => name === wanted));
    const challenge = async (place, token) => {
      const answer = await things(place, token);
      return [answer.status, answer.headers.get('www-authenticate')];
    };
    for (const place of apis.places) for (const token of [behind, without]) assert.deepEqual(await challenge(place, token), [200, null]);
    await management.users.refreshToken.delete(user.user_id);
    const deleted = performance.now();
    while ((await things(asking, behind)).status === 200) assert.ok(performance.now() - deleted < REACHED_WITHIN_MS);
    while ((await things(refusing, without)).status === 200) assert.ok(performance.now() - deleted < REACHED_WITHIN_MS);
    assert.deepEqual(await challenge(asking, behind), [401, 'Bearer error="invalid_token", error_description="The access token has ended."']);
    assert.deepEqual(await challenge(asking, without), [200, null], 'no refresh token stood behind it');
    assert.deepEqual(await challenge(refusing, without), [401, 'Bearer error="invalid_token", error_description="Whether the access token has ended is not known here."']);
  });

  test('a blocked user, after the server was killed and started again', async (t) => {
    const user = await createUser(curfew);
    const token = await logIn(user);
    await curfew.crash();
    // The guards come back within the five seconds that one waits at most, and take the feed up where they were.
    await endsEverywhere(t, token, () => management.users.update(user.user_id, { blocked: true }), 10_000);
  });
});

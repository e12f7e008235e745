// The Actions of two of Auth0's articles, as they stand there, deployed and bound by the `auth0` package.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as openid from 'openid-client';
import { openApplication, signingIn } from '../lib/application.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createMachineClient, createUser } from '../lib/setup.mjs';

const article = (name) => readFileSync(join(import.meta.dirname, '../fixtures', name), 'utf8');

onEachEngine("the articles' Actions", (engine) => {
  let application;
  let curfew;
  let management;
  let signIn;
  let silent;
  before(async () => {
    application = await openApplication(engine);
    ({ curfew, management } = application);
    ({ signIn, silent } = signingIn(application, { scope: 'openid offline_access' }));
  });
  after(() => application?.close());

  /** Makes an Action, deploys it when it is built, and has it alone run after logins. */
  async function bind(action) {
    const { id } = await management.actions.create({ supported_triggers: [{ id: 'post-login', version: 'v3' }], ...action });
    const deadline = Date.now() + 120_000;
    for (let status; status !== 'built';) {
      const made = await management.actions.get(id);
      ({ status } = made);
      assert.ok(Date.now() < deadline && status !== 'failed', JSON.stringify(made));
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    await management.actions.deploy(id);
    const bindings = [{ ref: { type: 'action_id', value: id }, display_name: action.name }];
    await management.actions.triggers.bindings.updateMany('post-login', { bindings });
  }

  const sessions = async ({ user_id: id }) => (await management.users.sessions.list(id)).response.sessions.map((session) => session.id);

  test('one session for each user: the newest', async (t) => {
    const machine = await createMachineClient(curfew, `${curfew.issuer}api/v2/`, ['read:sessions', 'delete:sessions']);
    const secrets = { domain: curfew.domain, clientId: machine.client_id, clientSecret: machine.client_secret };
    await bind({
      name: 'single session',
      code: article('single-session.js'),
      dependencies: [{ name: 'auth0', version: '7.1.0' }],
      secrets: Object.entries(secrets).map(([name, value]) => ({ name, value })),
    });
    const user = await createUser(curfew);
    let newest;
    for (let at = 0; at < 3; at += 1) {
      const before = newest;
      newest = await signIn(t, user);
      assert.deepEqual(await sessions(user), [newest.sid]);
      if (before) assert.equal(await silent(before), false);
      assert.equal(await silent(newest), true);
    }
  });

  test('when somebody was last active, written at most once a day', async (t) => {
    await bind({ name: 'last active', code: article('last-active.js') });
    const user = await createUser(curfew);
    const who = await signIn(t, user);
    const lastActive = async () => (await management.users.get(user.user_id)).app_metadata.last_active;
    const first = await lastActive();
    assert.ok(Math.abs(Date.now() - Date.parse(first)) < 60_000, first);
    assert.equal(await silent(who), true);
    await openid.refreshTokenGrant(application.configuration, who.tokens.refresh_token);
    assert.equal(await lastActive(), first);
  });
});

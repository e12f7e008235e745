// `auth0` 7, ManagementClient: sessions and refresh tokens of people who are really signed in.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as openid from 'openid-client';
import { openApplication, signingIn } from '../lib/application.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createUser } from '../lib/setup.mjs';

onEachEngine('sessions and refresh tokens', (engine) => {
  let application;
  let curfew;
  let management;
  let client;
  let configuration;
  let api;
  let signIn;
  let silent;
  before(async () => {
    application = await openApplication(engine);
    ({ curfew, management, client, configuration } = application);
    api = await createApi(curfew);
    ({ signIn, silent } = signingIn(application, { audience: api.identifier, scope: 'openid offline_access read:things' }));
  });
  after(() => application?.close());

  /** Whether the refresh token still answers. */
  const refreshes = ({ tokens }) => openid.refreshTokenGrant(configuration, tokens.refresh_token).then(() => true, (error) => {
    assert.equal(error.error, 'invalid_grant');
    assert.equal(error.error_description, 'Unknown or invalid refresh token.');
    return false;
  });

  const alive = async (who) => ({ session: await silent(who), refresh: await refreshes(who) });

  test('a session shows who, since when, from where and with which client', async (t) => {
    const user = await createUser(curfew);
    const { sid } = await signIn(t, user);
    const session = await management.sessions.get(sid);
    assert.equal(session.id, sid);
    assert.equal(session.user_id, user.user_id);
    assert.deepEqual(session.clients.map(({ client_id }) => client_id), [client.client_id]);
    assert.deepEqual(session.authentication.methods.map(({ name }) => name), ['pwd']);
    assert.match(session.device.initial_user_agent, /Chrome\//);
    assert.equal(session.device.initial_ip, '127.0.0.1');
    const [created, idle, absolute] = [session.created_at, session.idle_expires_at, session.expires_at].map((time) => Date.parse(time));
    assert.ok(created < idle && idle < absolute);
    const listed = await management.users.sessions.list(user.user_id);
    assert.deepEqual(listed.response.sessions.map(({ id }) => id), [sid]);
  });

  test('session metadata is replaced as a whole, and cleared', async (t) => {
    const { sid } = await signIn(t, await createUser(curfew));
    assert.deepEqual((await management.sessions.update(sid, { session_metadata: { a: '1', b: '2' } })).session_metadata, { a: '1', b: '2' });
    assert.deepEqual((await management.sessions.update(sid, { session_metadata: { c: '3' } })).session_metadata, { c: '3' });
    assert.equal((await management.sessions.update(sid, { session_metadata: null })).session_metadata ?? null, null);
  });

  test('a refresh token shows its session, client and audience', async (t) => {
    const user = await createUser(curfew);
    const { sid, tokens } = await signIn(t, user);
    const listed = await management.users.refreshToken.list(user.user_id);
    assert.equal(listed.data.length, 1);
    const [token] = listed.data;
    assert.equal(token.session_id, sid);
    assert.equal(token.client_id, client.client_id);
    assert.equal(token.rotating, false);
    assert.deepEqual(token.resource_servers, [{ audience: api.identifier, scopes: 'openid offline_access read:things' }]);
    assert.notEqual(token.id, tokens.refresh_token);
    assert.equal((await management.refreshTokens.get(token.id)).id, token.id);
  });

  describe('what ends', () => {
    test('deleting a session ends that one; its refresh token stays', async (t) => {
      const user = await createUser(curfew);
      const [here, there] = [await signIn(t, user), await signIn(t, user)];
      assert.deepEqual(await alive(here), { session: true, refresh: true });
      await management.sessions.delete(here.sid);
      assert.deepEqual(await alive(here), { session: false, refresh: true });
      assert.deepEqual(await alive(there), { session: true, refresh: true });
    });

    test('revoking a session ends it and its refresh tokens', async (t) => {
      const user = await createUser(curfew);
      const [here, there] = [await signIn(t, user), await signIn(t, user)];
      assert.deepEqual(await alive(here), { session: true, refresh: true });
      await management.sessions.revoke(here.sid);
      assert.deepEqual(await alive(here), { session: false, refresh: false });
      assert.deepEqual(await alive(there), { session: true, refresh: true });
    });

    test("deleting a user's sessions ends all of them; refresh tokens stay", async (t) => {
      const user = await createUser(curfew);
      const both = [await signIn(t, user), await signIn(t, user)];
      await management.users.sessions.delete(user.user_id);
      for (const one of both) assert.deepEqual(await alive(one), { session: false, refresh: true });
      assert.deepEqual((await management.users.sessions.list(user.user_id)).data, []);
    });

    test("deleting a user's refresh tokens leaves the sessions", async (t) => {
      const user = await createUser(curfew);
      const both = [await signIn(t, user), await signIn(t, user)];
      await management.users.refreshToken.delete(user.user_id);
      for (const one of both) assert.deepEqual(await alive(one), { session: true, refresh: false });
    });

    test('one refresh token is deleted, or a list of them revoked', async (t) => {
      const user = await createUser(curfew);
      const [deleted, revoked, kept] = [await signIn(t, user), await signIn(t, user), await signIn(t, user)];
      const idOf = async ({ sid }) => (await management.users.refreshToken.list(user.user_id)).data.find(({ session_id }) => session_id === sid).id;
      const revokedId = await idOf(revoked);
      await management.refreshTokens.delete(await idOf(deleted));
      await management.refreshTokens.revoke({ ids: [revokedId] });
      assert.equal(await refreshes(deleted), false);
      assert.equal(await refreshes(revoked), false);
      assert.equal(await refreshes(kept), true);
    });

    test('revoking access ends everything of the user', async (t) => {
      const user = await createUser(curfew);
      const both = [await signIn(t, user), await signIn(t, user)];
      await management.users.revokeAccess(user.user_id);
      for (const one of both) assert.deepEqual(await alive(one), { session: false, refresh: false });
    });

    test('revoking access may keep the refresh tokens', async (t) => {
      const user = await createUser(curfew);
      const one = await signIn(t, user);
      await management.users.revokeAccess(user.user_id, { preserve_refresh_tokens: true });
      assert.deepEqual(await alive(one), { session: false, refresh: true });
    });

    test('a new password, or a new address, ends the sessions; refresh tokens stay', async (t) => {
      for (const change of [{ password: 'Another-Password-2' }, { email: `moved-${Date.now()}@example.com` }]) {
        const user = await createUser(curfew);
        const one = await signIn(t, user);
        await management.users.update(user.user_id, change);
        assert.deepEqual(await alive(one), { session: false, refresh: true });
      }
    });

    test('deleting the user ends everything, and says so', async (t) => {
      const user = await createUser(curfew);
      const one = await signIn(t, user);
      await management.users.delete(user.user_id);
      assert.equal(await silent(one), false);
      await assert.rejects(openid.refreshTokenGrant(configuration, one.tokens.refresh_token), { error: 'invalid_grant', error_description: "The refresh_token was generated for a user who doesn't exist anymore." });
    });
  });
});

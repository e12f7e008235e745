// `auth0` 7, ManagementClient: the Management API as Auth0's own client calls and reads it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { ManagementClient } from 'auth0';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { CONNECTION, createApi, createMachineClient, createSpaClient, createUser } from '../lib/setup.mjs';

/** Shows that `call` is refused with this status, reason phrase, message and `errorCode`. */
const refused = (call, statusCode, error, message, errorCode) => assert.rejects(call, (thrown) => {
  assert.equal(thrown.statusCode, statusCode);
  assert.equal(thrown.body.statusCode, statusCode);
  assert.equal(thrown.body.error, error);
  if (message instanceof RegExp) assert.match(thrown.body.message, message);
  else assert.equal(thrown.body.message, message);
  assert.equal(thrown.body.errorCode, errorCode);
  return true;
});

onEachEngine('auth0 ManagementClient', (engine) => {
  let curfew;
  let management;
  before(async () => {
    curfew = await startCurfew(engine);
    ({ management } = curfew);
  });
  after(() => curfew?.stop());

  describe('users', () => {
    test('are created with the defaults of a database user', async () => {
      const email = `Ada.${randomUUID()}@Example.com`;
      const user = await management.users.create({ connection: CONNECTION, email, password: 'A-fine-Password-1', app_metadata: { plan: 'gold' } });
      const address = email.toLowerCase();
      assert.match(user.user_id, /^auth0\|[0-9a-f]{24}$/);
      assert.equal(user.email, address);
      assert.equal(user.email_verified, false);
      assert.equal(user.name, address);
      assert.equal(user.nickname, address.split('@')[0]);
      assert.deepEqual(user.identities, [{ connection: CONNECTION, provider: 'auth0', user_id: user.user_id.split('|')[1], isSocial: false }]);
      assert.deepEqual(user.app_metadata, { plan: 'gold' });
      assert.equal('blocked' in user, false);
      assert.equal('last_login' in user, false);
      assert.match(user.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.equal(JSON.stringify(user).includes('A-fine-Password-1'), false);
      assert.deepEqual(await management.users.get(user.user_id), user);
    });

    test('are found by their address, however it is written', async () => {
      const user = await createUser(curfew);
      const found = await management.users.listUsersByEmail({ email: user.email.toUpperCase() });
      assert.deepEqual(found.map(({ user_id }) => user_id), [user.user_id]);
      assert.deepEqual(await management.users.listUsersByEmail({ email: 'nobody@example.com' }), []);
    });

    test('are updated: metadata merges at its first level, null removes a key', async () => {
      const { user_id } = await createUser(curfew, { user_metadata: { colour: 'red', size: { height: 1 } } });
      const updated = await management.users.update(user_id, { name: 'Ada', user_metadata: { colour: null, size: { width: 2 }, shape: 'round' } });
      assert.equal(updated.name, 'Ada');
      assert.deepEqual(updated.user_metadata, { size: { width: 2 }, shape: 'round' });
      assert.deepEqual(await management.users.get(user_id), updated);
    });

    test('are blocked and unblocked', async () => {
      const { user_id } = await createUser(curfew);
      assert.equal((await management.users.update(user_id, { blocked: true })).blocked, true);
      assert.equal((await management.users.get(user_id)).blocked, true);
      assert.equal((await management.users.update(user_id, { blocked: false })).blocked, false);
    });

    test('are listed page by page', async () => {
      const before = (await management.users.list({ per_page: 1 })).response.total;
      const made = [];
      for (let count = 0; count < 5; count += 1) made.push((await createUser(curfew)).user_id);
      const first = await management.users.list({ per_page: 2, page: 0 });
      assert.equal(first.response.total, before + 5);
      assert.equal(first.response.start, 0);
      assert.equal(first.response.limit, 2);
      assert.equal(first.data.length, 2);
      const seen = [];
      for await (const { user_id } of await management.users.list({ per_page: 2 })) seen.push(user_id);
      assert.equal(seen.length, before + 5);
      assert.equal(new Set(seen).size, seen.length);
      for (const user_id of made) assert.ok(seen.includes(user_id));
    });

    test('are shown with the fields that were asked for', async () => {
      const user = await createUser(curfew);
      assert.deepEqual(await management.users.get(user.user_id, { fields: 'user_id,email', include_fields: true }), { user_id: user.user_id, email: user.email });
      const rest = await management.users.get(user.user_id, { fields: 'identities', include_fields: false });
      assert.equal('identities' in rest, false);
      assert.equal(rest.email, user.email);
    });

    test('are deleted, and a second time is no error', async () => {
      const { user_id } = await createUser(curfew);
      await management.users.delete(user_id);
      await refused(() => management.users.get(user_id), 404, 'Not Found', 'The user does not exist.', 'inexistent_user');
      await management.users.delete(user_id);
    });

    test('cannot share an address, and need a password that is not weak', async () => {
      const { email } = await createUser(curfew);
      await assert.rejects(() => management.users.create({ connection: CONNECTION, email, password: 'A-fine-Password-1' }), (thrown) => {
        assert.equal(thrown.statusCode, 409);
        assert.equal(thrown.body.message, 'The user already exists.');
        return true;
      });
      await assert.rejects(() => createUser(curfew, { password: 'weak' }), (thrown) => {
        assert.equal(thrown.statusCode, 400);
        assert.match(thrown.body.message, /^PasswordStrengthError: Password is too weak/);
        return true;
      });
    });
  });

  describe('clients', () => {
    test('are created with an id, a secret and the defaults', async () => {
      const client = await management.clients.create({ name: 'A bare client' });
      assert.match(client.client_id, /^[A-Za-z0-9]{32}$/);
      assert.match(client.client_secret, /^[A-Za-z0-9_-]{64}$/);
      assert.equal(client.is_first_party, true);
      assert.deepEqual(client.grant_types, ['authorization_code', 'refresh_token', 'client_credentials'], 'the implicit grant is there for those who ask for it');
      assert.equal(client.refresh_token.rotation_type, 'non-rotating');
      assert.equal(client.refresh_token.leeway, 0);
      assert.equal((await management.clients.get(client.client_id)).client_secret, client.client_secret);
    });

    test('keep fields that Curfew does not use', async () => {
      const client = await management.clients.create({ name: 'Keeper', logo_uri: 'https://example.com/logo.png', client_metadata: { team: 'red' }, mobile: { ios: { team_id: 'T', app_bundle_identifier: 'b' } } });
      const { logo_uri, client_metadata, mobile } = await management.clients.get(client.client_id);
      assert.deepEqual({ logo_uri, client_metadata, mobile }, { logo_uri: 'https://example.com/logo.png', client_metadata: { team: 'red' }, mobile: { ios: { team_id: 'T', app_bundle_identifier: 'b' } } });
    });

    test('are updated, listed and deleted', async () => {
      const { client_id } = await management.clients.create({ name: 'Before', callbacks: ['https://example.com/callback'] });
      const updated = await management.clients.update(client_id, { name: 'After' });
      assert.equal(updated.name, 'After');
      assert.deepEqual(updated.callbacks, ['https://example.com/callback']);
      const listed = [];
      for await (const client of await management.clients.list({ per_page: 2 })) listed.push(client.client_id);
      assert.ok(listed.includes(client_id));
      assert.ok(listed.includes(curfew.bootstrap.clientId));
      await management.clients.delete(client_id);
      await refused(() => management.clients.get(client_id), 404, 'Not Found', /^The client does not exist/, 'inexistent_client');
    });

    test('get a new secret, and the old one is refused', async () => {
      const api = await createApi(curfew);
      const client = await createMachineClient(curfew, api.identifier, ['read:things']);
      const ask = (client_secret) => fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', audience: api.identifier, client_id: client.client_id, client_secret }) });
      assert.equal((await ask(client.client_secret)).status, 200);
      const rotated = await management.clients.rotateSecret(client.client_id);
      assert.notEqual(rotated.client_secret, client.client_secret);
      assert.equal((await ask(rotated.client_secret)).status, 200);
      const answer = await ask(client.client_secret);
      assert.equal(answer.status, 401);
      assert.deepEqual(await answer.json(), { error: 'access_denied', error_description: 'Unauthorized' });
    });
  });

  describe('resource servers', () => {
    test('are found by id and by identifier, updated, listed and deleted', async () => {
      const api = await createApi(curfew);
      assert.match(api.id, /^[0-9a-f]{24}$/);
      assert.equal(api.signing_alg, 'RS256');
      assert.equal(api.token_lifetime, 86400);
      assert.equal((await management.resourceServers.get(api.identifier)).id, api.id);
      const updated = await management.resourceServers.update(api.id, { token_lifetime: 600 });
      assert.equal(updated.token_lifetime, 600);
      assert.deepEqual(updated.scopes, api.scopes);
      const listed = [];
      for await (const { identifier } of await management.resourceServers.list({ per_page: 2 })) listed.push(identifier);
      assert.ok(listed.includes(api.identifier));
      assert.ok(listed.includes(`${curfew.issuer}api/v2/`), 'the Management API is one of them');
      await management.resourceServers.delete(api.id);
      await refused(() => management.resourceServers.get(api.id), 404, 'Not Found', /^The resource server does not exist/, 'inexistent_resource_server');
    });
  });

  describe('client grants', () => {
    test('decide what a machine gets; their end ends the next token', async () => {
      const api = await createApi(curfew);
      const { client_id, client_secret, grant } = await createMachineClient(curfew, api.identifier, ['read:things']);
      assert.match(grant.id, /^cgr_/);
      const ask = async () => (await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', audience: api.identifier, client_id, client_secret }) })).json();
      assert.equal((await ask()).scope, 'read:things');
      const updated = await management.clientGrants.update(grant.id, { scope: ['write:things'] });
      assert.deepEqual(updated.scope, ['write:things']);
      assert.equal((await ask()).scope, 'write:things');
      const listed = await management.clientGrants.list({ client_id });
      assert.deepEqual(listed.data.map(({ id }) => id), [grant.id]);
      await assert.rejects(() => management.clientGrants.create({ client_id, audience: api.identifier, scope: [] }), { statusCode: 409 });
      await management.clientGrants.delete(grant.id);
      const { error, error_description } = await ask();
      assert.equal(error, 'access_denied');
      assert.ok(error_description.startsWith(`Client is not authorized to access "${api.identifier}".`), error_description);
    });
  });

  describe('connections', () => {
    test('the default one is there, and enabled for new clients', async () => {
      const listed = await management.connections.list({ name: [CONNECTION] });
      assert.equal(listed.data.length, 1);
      const [{ id, strategy, name }] = listed.data;
      assert.match(id, /^con_[A-Za-z0-9]{16}$/);
      assert.deepEqual({ strategy, name }, { strategy: 'auth0', name: CONNECTION });
      const { client_id } = await createSpaClient(curfew, 'https://app.example.com');
      const enabled = [];
      for await (const client of await management.connections.clients.get(id)) enabled.push(client.client_id);
      assert.ok(enabled.includes(client_id));
    });

    test('are created, updated, given to clients and deleted', async () => {
      const { client_id } = await createSpaClient(curfew, 'https://app.example.com');
      const connection = await management.connections.create({ name: `staff-${randomUUID().slice(0, 8)}`, strategy: 'auth0', options: { passwordPolicy: 'low' } });
      assert.match(connection.id, /^con_/);
      assert.equal(connection.options.passwordPolicy, 'low');
      const updated = await management.connections.update(connection.id, { options: { ...connection.options, disable_signup: true } });
      assert.equal(updated.options.disable_signup, true);
      await management.connections.clients.update(connection.id, [{ client_id, status: true }]);
      const enabled = await management.connections.clients.get(connection.id);
      assert.deepEqual(enabled.data.map((client) => client.client_id), [client_id]);
      const user = await createUser(curfew, { connection: connection.name });
      assert.equal(user.identities[0].connection, connection.name);
      await management.connections.delete(connection.id);
      await refused(() => management.connections.get(connection.id), 404, 'Not Found', /^The connection does not exist/, 'inexistent_connection');
      // 202: access by the connection has ended, its users' rows follow.
      const gone = () => management.users.get(user.user_id).then(() => false, ({ statusCode }) => statusCode === 404);
      const patience = Date.now() + 10_000;
      while (!(await gone())) assert.ok(Date.now() < patience, 'the users of a deleted connection are deleted soon');
    });
  });

  describe('the tenant', () => {
    test('settings are read and changed', async () => {
      const { session_lifetime, idle_session_lifetime } = await management.tenants.settings.get();
      assert.deepEqual({ session_lifetime, idle_session_lifetime }, { session_lifetime: 168, idle_session_lifetime: 72 });
      const updated = await management.tenants.settings.update({ friendly_name: 'Ours', session_lifetime: 24, idle_session_lifetime: 12 });
      assert.equal(updated.friendly_name, 'Ours');
      assert.equal(updated.session_lifetime, 24);
      assert.equal((await management.tenants.settings.get()).idle_session_lifetime, 12);
    });

    test('signing keys are listed, rotated and revoked; the key set follows', async () => {
      const published = async () => (await (await fetch(`${curfew.issuer}.well-known/jwks.json`)).json()).keys.map(({ kid }) => kid);
      const keys = await management.keys.signing.list();
      const current = keys.find((key) => key.current);
      const next = keys.find((key) => key.next);
      assert.ok(current && next, 'one key signs, the next is published before it does');
      for (const { kid, cert } of [current, next]) {
        assert.ok((await published()).includes(kid));
        assert.match(cert, /^-----BEGIN CERTIFICATE-----/);
      }
      const rotated = await management.keys.signing.rotate();
      assert.ok((await published()).includes(rotated.kid));
      assert.equal((await management.keys.signing.get(next.kid)).current, true);
      assert.equal((await management.keys.signing.get(current.kid)).previous, true);
      assert.ok((await published()).includes(current.kid), 'tokens of the previous key can still be checked');
      await management.keys.signing.revoke(current.kid);
      assert.equal((await published()).includes(current.kid), false);
      await refused(() => management.keys.signing.list(), 401, 'Unauthorized', 'Invalid token', undefined);
      // A new client fetches a new token, signed with the new key.
      management = new ManagementClient({ domain: curfew.domain, ...curfew.bootstrap });
      curfew.management = management;
      assert.equal((await management.keys.signing.get(current.kid)).revoked, true);
    });
  });

  describe('errors', () => {
    test('name the field of a body that is wrong', async () => {
      await refused(() => management.clients.create({}), 400, 'Bad Request', "Payload validation error: 'Missing required property: name'.", 'invalid_body');
      await refused(() => management.clients.create({ name: 7 }), 400, 'Bad Request', /^Payload validation error: 'Expected type string but found type .+' on property name/, 'invalid_body');
      await refused(() => management.users.update('auth0|000000000000000000000000', { favourite: 1 }), 400, 'Bad Request', /^Payload validation error: 'Additional properties not allowed: favourite'/, 'invalid_body');
      await refused(() => management.users.list({ per_page: 1000 }), 400, 'Bad Request', /^Query validation error: '.+' on property per_page/, 'invalid_query_string');
    });

    test('tell a token without the scope which scopes would do', async () => {
      const machine = await createMachineClient(curfew, `${curfew.issuer}api/v2/`, ['read:clients']);
      const limited = new ManagementClient({ domain: curfew.domain, clientId: machine.client_id, clientSecret: machine.client_secret });
      assert.ok((await limited.clients.list()).data.length > 0);
      await refused(() => limited.users.list(), 403, 'Forbidden', /^Insufficient scope, expected any of: read:users/, 'insufficient_scope');
      await refused(() => limited.users.create({ connection: CONNECTION, email: 'x@example.com', password: 'A-fine-Password-1' }), 403, 'Forbidden', /^Insufficient scope, expected any of: create:users/, 'insufficient_scope');
    });

    test('refuse a token that is not for the Management API, and one that is no token', async () => {
      const api = await createApi(curfew);
      const { client_id, client_secret } = await createMachineClient(curfew, api.identifier, ['read:things']);
      const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', audience: api.identifier, client_id, client_secret }) });
      const { access_token } = await answer.json();
      await refused(() => new ManagementClient({ domain: curfew.domain, token: access_token }).users.list(), 401, 'Unauthorized', 'Invalid token', undefined);
      await refused(() => new ManagementClient({ domain: curfew.domain, token: 'opaque' }).users.list(), 400, 'Bad Request', 'Bad HTTP authentication header format', 'Bearer');
    });
  });
});

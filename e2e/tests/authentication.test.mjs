// `auth0` 6, AuthenticationClient (version 7 has none): the calls of a server or a native application.

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { AuthenticationClient, UserInfoClient } from 'auth0-with-authentication';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { CONNECTION, createApi, createMachineClient, createPasswordClient, createUser } from '../lib/setup.mjs';

const claims = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url'));

onEachEngine('auth0 AuthenticationClient', (engine) => {
  let curfew;
  let api;
  let client;
  let authentication;
  before(async () => {
    curfew = await startCurfew(engine);
    api = await createApi(curfew);
    client = await createPasswordClient(curfew);
    authentication = new AuthenticationClient({ domain: curfew.domain, clientId: client.client_id, clientSecret: client.client_secret });
  });
  after(() => curfew?.stop());

  const password = ({ email, password: secret }, realm = { realm: CONNECTION }) => authentication.oauth.passwordGrant({ username: email, password: secret, audience: api.identifier, scope: 'openid profile email offline_access read:things', ...realm });

  test('password grant: the user, the realm, and tokens for the API', async () => {
    const user = await createUser(curfew);
    const { status, data } = await password(user);
    assert.equal(status, 200);
    assert.equal(data.token_type, 'Bearer');
    assert.equal(data.expires_in, 86400);
    const token = claims(data.access_token);
    assert.equal(token.iss, curfew.issuer);
    assert.equal(token.sub, user.user_id);
    assert.deepEqual(token.aud, [api.identifier, `${curfew.issuer}userinfo`]);
    assert.equal(token.azp, client.client_id);
    assert.equal(token.gty, 'password');
    assert.equal(token.exp - token.iat, 86400);
    assert.equal(claims(data.id_token).sid, undefined, 'no browser, no session');
    const { data: profile } = await new UserInfoClient({ domain: curfew.domain }).getUserInfo(data.access_token);
    assert.equal(profile.sub, user.user_id);
    assert.equal(profile.email, user.email);
  });

  test('password grant without a realm uses the default directory', async () => {
    const user = await createUser(curfew);
    await curfew.management.tenants.settings.update({ default_directory: CONNECTION });
    const { data } = await password(user, {});
    assert.equal(claims(data.access_token).sub, user.user_id);
  });

  test('password grant: a wrong password and an unknown user sound the same', async () => {
    const user = await createUser(curfew);
    const refused = { statusCode: 403, error: 'invalid_grant', error_description: 'Wrong email or password.' };
    await assert.rejects(() => password({ ...user, password: 'not-the-Password-1' }), refused);
    await assert.rejects(() => password({ email: 'nobody@example.com', password: user.password }), refused);
  });

  test('password grant: a blocked user hears so, but only with the right password', async () => {
    const user = await createUser(curfew);
    await curfew.management.users.update(user.user_id, { blocked: true });
    await assert.rejects(() => password(user), { error: 'unauthorized', error_description: 'user is blocked' });
    await assert.rejects(() => password({ ...user, password: 'not-the-Password-1' }), { error: 'invalid_grant', error_description: 'Wrong email or password.' });
  });

  test('client credentials: the scopes of the grant, and nothing without one', async () => {
    const machine = await createMachineClient(curfew, api.identifier, ['read:things']);
    const { oauth } = new AuthenticationClient({ domain: curfew.domain, clientId: machine.client_id, clientSecret: machine.client_secret });
    const { data } = await oauth.clientCredentialsGrant({ audience: api.identifier });
    const token = claims(data.access_token);
    assert.equal(token.sub, `${machine.client_id}@clients`);
    assert.equal(token.gty, 'client-credentials');
    assert.equal(token.scope, 'read:things');
    assert.equal(token.aud, api.identifier);
    const other = await createApi(curfew);
    await assert.rejects(() => oauth.clientCredentialsGrant({ audience: other.identifier }), ({ statusCode, error, error_description }) => {
      assert.deepEqual({ statusCode, error }, { statusCode: 403, error: 'access_denied' });
      assert.ok(error_description.startsWith(`Client is not authorized to access "${other.identifier}". You need to create a "client-grant" associated to this API.`), error_description);
      return true;
    });
    await assert.rejects(() => oauth.clientCredentialsGrant({ audience: 'https://nowhere.example.com' }), { statusCode: 403, error: 'access_denied', error_description: 'Service not found: https://nowhere.example.com' });
  });

  test('client credentials with a signed assertion', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
    const { client_id } = await curfew.management.clients.create({
      name: 'Machine with a key',
      app_type: 'non_interactive',
      grant_types: ['client_credentials'],
      client_authentication_methods: { private_key_jwt: { credentials: [{ credential_type: 'public_key', name: 'e2e', alg: 'RS256', pem: publicKey }] } },
    });
    await curfew.management.clientGrants.create({ client_id, audience: api.identifier, scope: ['write:things'] });
    const { oauth } = new AuthenticationClient({ domain: curfew.domain, clientId: client_id, clientAssertionSigningKey: privateKey });
    const { data } = await oauth.clientCredentialsGrant({ audience: api.identifier });
    assert.equal(data.scope ?? claims(data.access_token).scope, 'write:things');
  });

  test('a wrong secret is refused as Auth0 refuses it', async () => {
    const { oauth } = new AuthenticationClient({ domain: curfew.domain, clientId: client.client_id, clientSecret: 'wrong' });
    await assert.rejects(() => oauth.clientCredentialsGrant({ audience: api.identifier }), { statusCode: 401, error: 'access_denied', error_description: 'Unauthorized' });
  });

  test('a grant type that the client does not have is refused', async () => {
    const machine = await createMachineClient(curfew, api.identifier, ['read:things']);
    const { oauth } = new AuthenticationClient({ domain: curfew.domain, clientId: machine.client_id, clientSecret: machine.client_secret });
    await assert.rejects(() => oauth.passwordGrant({ username: 'a@example.com', password: 'b', realm: CONNECTION }), { statusCode: 403, error: 'unauthorized_client', error_description: "Grant type 'http://auth0.com/oauth/grant-type/password-realm' not allowed for the client." });
  });

  test('refresh, revoke, and the token is unknown', async () => {
    const { data } = await password(await createUser(curfew));
    const refreshed = await authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token });
    assert.equal(claims(refreshed.data.access_token).sub, claims(data.access_token).sub);
    assert.equal(refreshed.data.scope, data.scope);
    const narrow = await authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token, scope: 'openid' });
    assert.equal(narrow.data.scope, 'openid');
    const wide = await authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token });
    assert.equal(wide.data.scope, data.scope, 'what was granted does not shrink');
    const { status } = await authentication.oauth.revokeRefreshToken({ token: data.refresh_token });
    assert.equal(status, 200);
    await assert.rejects(() => authentication.oauth.refreshTokenGrant({ refresh_token: data.refresh_token }), { statusCode: 403, error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' });
  });

  test('sign-up, then log in; a second sign-up tells nothing', async () => {
    const email = `${randomUUID()}@example.com`;
    const { data } = await authentication.database.signUp({ connection: CONNECTION, email, password: 'A-fine-Password-1', user_metadata: { colour: 'red' } });
    assert.equal(data.email, email);
    assert.equal(data.email_verified, false);
    const tokens = await password({ email, password: 'A-fine-Password-1' });
    assert.equal(claims(tokens.data.access_token).sub, `auth0|${data.id}`);
    const [user] = await curfew.management.users.listUsersByEmail({ email });
    assert.deepEqual(user.user_metadata, { colour: 'red' });
    await assert.rejects(() => authentication.database.signUp({ connection: CONNECTION, email, password: 'A-fine-Password-1' }), { statusCode: 400, error: 'invalid_signup', error_description: 'Invalid sign up' });
    await assert.rejects(() => authentication.database.signUp({ connection: CONNECTION, email: `${randomUUID()}@example.com`, password: 'weak' }), { statusCode: 400, error: 'invalid_password' });
  });

  test('asking for a new password answers the same for everyone', async () => {
    const { email } = await createUser(curfew);
    for (const address of [email, 'nobody@example.com']) {
      const { status, data } = await authentication.database.changePassword({ connection: CONNECTION, email: address });
      assert.equal(status, 200);
      assert.equal(data, "We've just sent you an email to reset your password.");
    }
  });
});

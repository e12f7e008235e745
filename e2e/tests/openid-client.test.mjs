// openid-client 6: a strict OpenID Connect relying party, which also checks every signature.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, test } from 'node:test';
import * as openid from 'openid-client';
import { answer, newPerson, openBrowser } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createMachineClient, createSpaClient, createUser, createWebClient } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

onEachEngine('openid-client', (engine) => {
  let curfew;
  let browser;
  let site;
  let redirect_uri;
  let web;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    site = await openSite('app.localhost', blank);
    redirect_uri = `${site.origin}/callback`;
    web = await createWebClient(curfew, site.origin);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    await curfew?.stop();
  });

  test('discovers the endpoints, from both documents', async () => {
    const configuration = await discover(curfew, web);
    const metadata = configuration.serverMetadata();
    assert.equal(metadata.issuer, curfew.issuer);
    assert.equal(metadata.authorization_endpoint, `${curfew.issuer}authorize`);
    assert.equal(metadata.token_endpoint, `${curfew.issuer}oauth/token`);
    assert.equal(metadata.end_session_endpoint, `${curfew.issuer}oidc/logout`);
    assert.equal(metadata.revocation_endpoint, `${curfew.issuer}oauth/revoke`);
    assert.ok(metadata.code_challenge_methods_supported.includes('S256'));
    const oauth = await openid.discovery(new URL(curfew.issuer), web.client_id, undefined, undefined, { algorithm: 'oauth2' });
    assert.equal(oauth.serverMetadata().token_endpoint, metadata.token_endpoint);
  });

  test('code flow with PKCE for a public client; the signature of the ID token is checked', async (t) => {
    const client = await createSpaClient(curfew, site.origin);
    const configuration = await discover(curfew, client);
    openid.enableNonRepudiationChecks(configuration);
    const user = await createUser(curfew);
    const { tokens } = await codeFlow(configuration, await newPerson(browser, t), { user, redirect_uri });
    assert.equal(tokens.claims().sub, user.user_id);
    assert.equal(tokens.token_type, 'bearer');
    assert.equal(tokens.scope, 'openid profile email');
  });

  test('code flow with client_secret_basic, userinfo with header and with POST', async (t) => {
    const basic = await createWebClient(curfew, site.origin, { token_endpoint_auth_method: 'client_secret_basic' });
    const configuration = await discover(curfew, basic, openid.ClientSecretBasic(basic.client_secret));
    const user = await createUser(curfew);
    const { tokens } = await codeFlow(configuration, await newPerson(browser, t), { user, redirect_uri });
    const profile = await openid.fetchUserInfo(configuration, tokens.access_token, tokens.claims().sub);
    assert.equal(profile.email, user.email);
    assert.equal(profile.email_verified, false);
    const posted = await fetch(configuration.serverMetadata().userinfo_endpoint, { method: 'POST', body: new URLSearchParams({ access_token: tokens.access_token }) });
    assert.deepEqual(await posted.json(), profile);
  });

  test('a code can be redeemed once, and its second presentation ends what the first issued', async (t) => {
    const api = await createApi(curfew);
    const configuration = await discover(curfew, web);
    const { tokens, callback, checks } = await codeFlow(configuration, await newPerson(browser, t), { user: await createUser(curfew), redirect_uri, audience: api.identifier, scope: 'openid offline_access' });
    await assert.rejects(openid.authorizationCodeGrant(configuration, callback, checks), { error: 'invalid_grant', error_description: 'Invalid authorization code' });
    await assert.rejects(openid.refreshTokenGrant(configuration, tokens.refresh_token), { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' });
  });

  test('a wrong code_verifier is refused', async (t) => {
    const configuration = await discover(curfew, web);
    const person = await newPerson(browser, t);
    const page = await person.newPage();
    await page.goto(openid.buildAuthorizationUrl(configuration, { redirect_uri, scope: 'openid', state: 's', prompt: 'none', code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()), code_challenge_method: 'S256' }).href);
    assert.equal(new URL(page.url()).searchParams.get('error'), 'login_required', 'nobody is signed in yet');
    await codeFlow(configuration, person, { user: await createUser(curfew), redirect_uri });
    await page.goto(openid.buildAuthorizationUrl(configuration, { redirect_uri, scope: 'openid', state: 's', prompt: 'none', code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()), code_challenge_method: 'S256' }).href);
    const checks = { pkceCodeVerifier: openid.randomPKCECodeVerifier(), expectedState: 's' };
    await assert.rejects(openid.authorizationCodeGrant(configuration, new URL(page.url()), checks), { error: 'invalid_grant', error_description: 'Failed to verify code verifier' });
  });

  test('refresh tokens that do not rotate are used again and again, and revoked', async (t) => {
    const api = await createApi(curfew);
    const configuration = await discover(curfew, web);
    const user = await createUser(curfew);
    const { tokens } = await codeFlow(configuration, await newPerson(browser, t), { user, redirect_uri, audience: api.identifier, scope: 'openid offline_access read:things' });
    for (let use = 0; use < 2; use += 1) {
      const refreshed = await openid.refreshTokenGrant(configuration, tokens.refresh_token);
      assert.equal(refreshed.refresh_token, undefined);
      assert.equal(refreshed.claims().sid, tokens.claims().sid);
      assert.equal(refreshed.claims().nonce, undefined);
    }
    await openid.tokenRevocation(configuration, tokens.refresh_token);
    await assert.rejects(openid.refreshTokenGrant(configuration, tokens.refresh_token), { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' });
    await openid.tokenRevocation(configuration, tokens.refresh_token);
  });

  test('a rotating refresh token used twice ends its family', async (t) => {
    const api = await createApi(curfew);
    const configuration = await discover(curfew, await createSpaClient(curfew, site.origin));
    const { tokens } = await codeFlow(configuration, await newPerson(browser, t), { user: await createUser(curfew), redirect_uri, audience: api.identifier, scope: 'openid offline_access' });
    const second = await openid.refreshTokenGrant(configuration, tokens.refresh_token);
    assert.notEqual(second.refresh_token, tokens.refresh_token);
    const refused = { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' };
    await assert.rejects(openid.refreshTokenGrant(configuration, tokens.refresh_token), refused);
    await assert.rejects(openid.refreshTokenGrant(configuration, second.refresh_token), refused, 'the newest one has fallen with it');
  });

  test('prompt=login and max_age ask for the password again and say when it was given', async (t) => {
    const configuration = await discover(curfew, web);
    const user = await createUser(curfew);
    const person = await newPerson(browser, t);
    const first = await codeFlow(configuration, person, { user, redirect_uri });
    const silent = await codeFlow(configuration, person, { redirect_uri, prompt: 'none' });
    assert.equal(silent.tokens.claims().sid, first.tokens.claims().sid);
    const again = await codeFlow(configuration, person, { user, redirect_uri, prompt: 'login' });
    assert.ok(again.tokens.claims().auth_time >= first.tokens.claims().iat);
    const aged = await codeFlow(configuration, person, { redirect_uri, max_age: '3600' });
    assert.equal(aged.tokens.claims().auth_time, again.tokens.claims().auth_time);
    await codeFlow(configuration, person, { user, redirect_uri, max_age: '0' });
  });

  test('private_key_jwt: the client proves itself with a key of its own', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const api = await createApi(curfew);
    const machine = await createMachineClient(curfew, api.identifier, ['read:things']);
    await curfew.management.clients.update(machine.client_id, { token_endpoint_auth_method: null });
    const credential = await curfew.management.clients.credentials.create(machine.client_id, { credential_type: 'public_key', name: 'e2e', alg: 'RS256', pem: publicKey.export({ type: 'spki', format: 'pem' }) });
    await curfew.management.clients.update(machine.client_id, { client_authentication_methods: { private_key_jwt: { credentials: [{ id: credential.id }] } } });
    const importKey = (key) => crypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign']);
    const withKey = async (key) => discover(curfew, { client_id: machine.client_id }, openid.PrivateKeyJwt({ key: await importKey(key), kid: credential.kid }));
    const tokens = await openid.clientCredentialsGrant(await withKey(privateKey), { audience: api.identifier });
    assert.equal(tokens.scope, 'read:things');
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    await assert.rejects(openid.clientCredentialsGrant(await withKey(stranger), { audience: api.identifier }), ({ status }) => status === 400 || status === 401);
    await assert.rejects(openid.clientCredentialsGrant(await discover(curfew, machine), { audience: api.identifier }), ({ status }) => status === 401, 'the secret no longer does');
  });

  test('the end-session URL with the ID token as hint ends the session at once', async (t) => {
    const configuration = await discover(curfew, web);
    const person = await newPerson(browser, t);
    const { tokens } = await codeFlow(configuration, person, { user: await createUser(curfew), redirect_uri });
    const page = await person.newPage();
    await page.goto(openid.buildEndSessionUrl(configuration, { id_token_hint: tokens.id_token, post_logout_redirect_uri: site.origin, state: 'gone' }).href);
    await page.waitForURL(`${site.origin}/?state=gone`);
    await page.goto(openid.buildAuthorizationUrl(configuration, { redirect_uri, scope: 'openid', state: 's', prompt: 'none' }).href);
    assert.equal(new URL(page.url()).searchParams.get('error'), 'login_required');
  });

  test('without a hint the end-session endpoint asks first, and only then ends the session', async (t) => {
    const configuration = await discover(curfew, web);
    const person = await newPerson(browser, t);
    await codeFlow(configuration, person, { user: await createUser(curfew), redirect_uri });
    const page = await person.newPage();
    await page.goto(openid.buildEndSessionUrl(configuration, { post_logout_redirect_uri: site.origin }).href);
    await page.locator('button[name=action][value=accept]').waitFor();
    const { tokens } = await codeFlow(configuration, person, { redirect_uri, prompt: 'none' });
    assert.ok(tokens.claims().sid, 'looking at the question ended nothing');
    await answer(page, 'accept');
    await page.waitForURL(`${site.origin}/`);
    await page.goto(openid.buildAuthorizationUrl(configuration, { redirect_uri, scope: 'openid', state: 's', prompt: 'none' }).href);
    assert.equal(new URL(page.url()).searchParams.get('error'), 'login_required');
  });
});

// The authorization code flow of `openid-client`, with a person at the browser.

import * as openid from 'openid-client';
import { giveCredentials } from './browser.mjs';

/** Curfew's metadata, as `openid-client` discovers it, for this client. */
export const discover = ({ issuer }, { client_id, client_secret }, authentication) => openid.discovery(
  new URL(issuer),
  client_id,
  { client_secret, id_token_signed_response_alg: 'RS256' },
  authentication ?? (client_secret ? openid.ClientSecretPost(client_secret) : openid.None()),
);

/**
 * Sends `person` to `/authorize` and redeems the code they come back with. `user` gives the
 * credentials; without one the session in the browser has to do.
 */
export async function codeFlow(configuration, person, { user, redirect_uri, ...parameters }) {
  const pkceCodeVerifier = openid.randomPKCECodeVerifier();
  const expectedState = openid.randomState();
  const expectedNonce = openid.randomNonce();
  const page = await person.newPage();
  await page.goto(openid.buildAuthorizationUrl(configuration, {
    redirect_uri,
    scope: 'openid profile email',
    ...parameters,
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  }).href);
  if (user) await giveCredentials(page, user);
  await page.waitForURL(`${redirect_uri}?*`);
  const callback = new URL(page.url());
  await page.close();
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  const tokens = await openid.authorizationCodeGrant(configuration, callback, checks);
  return { tokens, callback, checks };
}

// What the suites need inside Curfew, made through the Management API alone.

import { randomUUID } from 'node:crypto';

export const CONNECTION = 'Username-Password-Authentication';

/** A user of the default connection; the answer of the API with the password beside it. */
export async function createUser({ management }, more = {}) {
  const email = `${randomUUID()}@example.com`;
  const password = `Pass-word-${randomUUID()}`;
  const user = await management.users.create({ connection: CONNECTION, email, password, ...more });
  return { ...user, password };
}

/** An API with two scopes, whose first-party clients need no consent. */
export async function createApi({ management }, more = {}) {
  const identifier = `https://api.example.com/${randomUUID()}`;
  return management.resourceServers.create({
    name: `API ${identifier}`,
    identifier,
    scopes: [{ value: 'read:things' }, { value: 'write:things' }],
    allow_offline_access: true,
    skip_consent_for_verifiable_first_party_clients: true,
    ...more,
  });
}

/** A public client that runs at `origin`, as a single-page application does. */
export async function createSpaClient({ management }, origin, more = {}) {
  return management.clients.create({
    name: `SPA at ${origin}`,
    app_type: 'spa',
    token_endpoint_auth_method: 'none',
    oidc_conformant: true,
    grant_types: ['authorization_code', 'refresh_token'],
    jwt_configuration: { alg: 'RS256' },
    callbacks: [`${origin}/callback`],
    allowed_logout_urls: [origin],
    web_origins: [origin],
    skip_non_verifiable_callback_uri_confirmation_prompt: true,
    refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 0, token_lifetime: 86400, idle_token_lifetime: 3600, infinite_token_lifetime: false, infinite_idle_token_lifetime: false },
    ...more,
  });
}

/** A client with a secret that runs at `origin`, as a server-rendered application does. */
export async function createWebClient({ management }, origin, more = {}) {
  return management.clients.create({
    name: `Web application at ${origin}`,
    app_type: 'regular_web',
    token_endpoint_auth_method: 'client_secret_post',
    oidc_conformant: true,
    grant_types: ['authorization_code', 'refresh_token', 'implicit'],
    jwt_configuration: { alg: 'RS256' },
    callbacks: [`${origin}/callback`],
    allowed_logout_urls: [origin],
    skip_non_verifiable_callback_uri_confirmation_prompt: true,
    ...more,
  });
}

/** A client that acts on its own behalf, with `scope` of the API `audience`. */
export async function createMachineClient({ management }, audience, scope) {
  const client = await management.clients.create({
    name: `Machine ${randomUUID()}`,
    app_type: 'non_interactive',
    token_endpoint_auth_method: 'client_secret_post',
    oidc_conformant: true,
    grant_types: ['client_credentials'],
    jwt_configuration: { alg: 'RS256' },
  });
  const grant = await management.clientGrants.create({ client_id: client.client_id, audience, scope });
  return { ...client, grant };
}

/** A client that collects passwords itself: all grants that need no browser. */
export async function createPasswordClient({ management }, more = {}) {
  return management.clients.create({
    name: `Password client ${randomUUID()}`,
    app_type: 'regular_web',
    token_endpoint_auth_method: 'client_secret_post',
    oidc_conformant: true,
    grant_types: ['password', 'http://auth0.com/oauth/grant-type/password-realm', 'refresh_token', 'client_credentials'],
    jwt_configuration: { alg: 'RS256' },
    ...more,
  });
}

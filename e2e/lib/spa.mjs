// The single-page application: static files, and Auth0's SDK as it is published.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createSpaClient } from './setup.mjs';
import { openSite } from './site.mjs';

const SDK = '/auth0-spa-js.production.js';
const sdkFolder = join(createRequire(import.meta.url).resolve('@auth0/auth0-spa-js/package.json'), '../dist');
const html = { type: 'text/html', body: readFileSync(join(import.meta.dirname, '../sites/spa/index.html')) };
const files = {
  '/': html,
  '/callback': html,
  '/app.js': { type: 'text/javascript', body: readFileSync(join(import.meta.dirname, '../sites/spa/app.js')) },
  '/live.js': { type: 'text/javascript', body: readFileSync(join(import.meta.dirname, '../../clients/js/live/live.js')) },
  [SDK]: { type: 'text/javascript', body: readFileSync(join(sdkFolder, SDK)) },
};

/** Serves the application at `host`, as a client of its own; `options` go to the SDK. */
export async function openSpa(curfew, { host = 'localhost', client: more, authorizationParams, ...options } = {}) {
  const site = await openSite(host);
  const client = await createSpaClient(curfew, site.origin, more);
  const settings = { domain: curfew.domain, clientId: client.client_id, authorizationParams, ...options };
  site.answer = ({ url }, response) => {
    const { pathname } = new URL(url, site.origin);
    const file = pathname === '/settings.json' ? { type: 'application/json', body: JSON.stringify(settings) } : files[pathname];
    if (!file) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': file.type }).end(file.body);
  };
  return { origin: site.origin, client, close: site.close };
}

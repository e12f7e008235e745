// nginx and Caddy before an API, as the examples configure them: each request waits for Curfew's word.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { certificates } from '../lib/certificates.mjs';
import { freePort, startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { CONNECTION, createApi, createPasswordClient, createUser } from '../lib/setup.mjs';

const PATIENCE_MS = 15_000;

/** An example with the names of this run. */
function example(file, { domain, api, port, upstream }) {
  const text = readFileSync(join(import.meta.dirname, '../../examples', file), 'utf8');
  const replaced = text
    .replaceAll('https%3A%2F%2Fapi.example%2Forders', encodeURIComponent(api.identifier))
    .replaceAll('login.example', domain)
    .replaceAll('127.0.0.1:3001', `127.0.0.1:${upstream}`)
    .replaceAll('/etc/ssl/certs/ca-certificates.crt', certificates().authority);
  return replaced.replace(/127\.0\.0\.1:808\d/, `127.0.0.1:${port}`);
}

/** How each proxy is started in `folder`, and what its example needs there beside its own words. */
const PROXIES = {
  nginx: {
    file: 'nginx/nginx.conf',
    start(folder, text) {
      const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`);
      // A certificate of this run names `localhost`, without the port that nginx would look for.
      const own = `${paths.join(' ')} access_log off; proxy_ssl_name localhost;`;
      writeFileSync(join(folder, 'nginx.conf'), text.replace('http {', `http { ${own}`));
      const global = `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr;`;
      return spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr', '-g', global], { stdio: ['ignore', 'ignore', 'pipe'] });
    },
  },
  caddy: {
    file: 'caddy/Caddyfile',
    start(folder, text) {
      writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n}\n${text}`);
      const env = { PATH: process.env.PATH, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, SSL_CERT_FILE: certificates().authority };
      return spawn('caddy', ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    },
  },
};

for (const [name, proxy] of Object.entries(PROXIES)) {
  onEachEngine(name, (engine) => {
    let curfew;
    let api;
    let upstream;
    let running;
    let folder;
    let origin;
    const told = [];

    before(async () => {
      curfew = await startCurfew(engine);
      api = await createApi(curfew);
      upstream = createServer((request, response) => {
        const { 'x-auth-subject': subject, 'x-auth-client': client, 'x-auth-session': session } = request.headers;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ path: request.url, subject, client, session }));
      }).listen(0, '127.0.0.1');
      await once(upstream, 'listening');
      const port = await freePort();
      origin = `http://127.0.0.1:${port}`;
      folder = mkdtempSync(join(process.env.CURFEW_E2E_SCRATCH, `${name}-`));
      running = proxy.start(folder, example(proxy.file, { domain: curfew.domain, api, port, upstream: upstream.address().port }));
      running.stderr.on('data', (data) => told.push(String(data)));
      const deadline = Date.now() + PATIENCE_MS;
      while (!(await fetch(origin).catch(() => undefined))) {
        assert.ok(running.exitCode === null && Date.now() < deadline, `${name} does not answer:\n${told.join('')}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
    after(async () => {
      if (running?.exitCode === null) {
        running.kill('SIGTERM');
        await once(running, 'exit');
      }
      upstream?.close();
      if (folder) rmSync(folder, { recursive: true, force: true });
      await curfew?.stop();
    });

    const ask = (token, headers = {}) => fetch(`${origin}/orders/7`, { headers: { ...(token && { authorization: `Bearer ${token}` }), ...headers } });

    async function signedIn() {
      const client = await createPasswordClient(curfew);
      const user = await createUser(curfew);
      const { client_id, client_secret } = client;
      const form = { grant_type: 'http://auth0.com/oauth/grant-type/password-realm', realm: CONNECTION, username: user.email, password: user.password, audience: api.identifier, scope: 'openid', client_id, client_secret };
      const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams(form) });
      assert.equal(answer.status, 200, await answer.clone().text());
      return { user, client, token: (await answer.json()).access_token };
    }

    test('lets a living token pass and says whose it is', async () => {
      const { user, client, token } = await signedIn();
      const answer = await ask(token, { 'x-auth-subject': 'auth0|somebody-else', 'x-auth-session': 'forged' });
      assert.equal(answer.status, 200, told.join(''));
      const seen = await answer.json();
      assert.equal(seen.path, '/orders/7');
      assert.equal(seen.subject, user.user_id);
      assert.equal(seen.client, client.client_id);
      assert.notEqual(seen.session, 'forged');
    });

    test('refuses a request without a token, with a forged one, and one for another API', async () => {
      for (const token of [undefined, 'rubbish']) {
        const answer = await ask(token);
        assert.equal(answer.status, 401);
        assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
      }
    });

    test('refuses a token as soon as its user is blocked', async () => {
      const { user, token } = await signedIn();
      assert.equal((await ask(token)).status, 200);
      await curfew.management.users.update(user.user_id, { blocked: true });
      const answer = await ask(token);
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get('www-authenticate'), /invalid_token/);
    });
  });
}

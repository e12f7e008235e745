// Apache with mod_auth_openidc, as Debian has them: a relying party that nobody wrote for us, with sessions of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { giveCredentials, newPerson, openBrowser, waitForLoginPage, waitForStatus } from '../lib/browser.mjs';
import { certificates } from '../lib/certificates.mjs';
import { freePort, startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser, createWebClient } from '../lib/setup.mjs';

const PATIENCE_MS = 15_000;
const MODULES = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'filter', 'include', 'dir', 'ssl', 'auth_openidc'];

/** Everything is behind a login; the page says who came in. */
function configuration({ folder, port, origin, issuer, client, authority }) {
  const { certificate, key } = certificates();
  // Workers of an Apache that root starts are somebody else.
  const workers = process.getuid() === 0 ? 'User www-data\nGroup www-data' : '';
  return `
ServerRoot ${folder}
DefaultRuntimeDir ${folder}
PidFile ${folder}/apache.pid
ErrorLog ${folder}/error.log
LogLevel warn
${MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
${workers}
Listen 127.0.0.1:${port}
ServerName ${new URL(origin).host}
UseCanonicalName On
SSLSessionCache none
SSLEngine on
SSLCertificateFile ${certificate}
SSLCertificateKeyFile ${key}

OIDCProviderMetadataURL ${issuer}.well-known/openid-configuration
OIDCCABundlePath ${authority}
OIDCClientID ${client.client_id}
OIDCClientSecret ${client.client_secret}
OIDCProviderTokenEndpointAuth client_secret_post
OIDCResponseType code
OIDCPKCEMethod S256
OIDCScope "openid email"
OIDCRedirectURI ${origin}/callback
OIDCCryptoPassphrase a-passphrase-for-the-cookies-of-this-run
OIDCRemoteUserClaim sub

DocumentRoot ${folder}/pages
DirectoryIndex index.html
<Location />
  AuthType openid-connect
  Require valid-user
  ForceType text/html
  Options +Includes
  SetOutputFilter INCLUDES
</Location>
`;
}

/** Starts Apache at a site of its own, with a client that is told of every ending. */
async function openApache(curfew) {
  const port = await freePort();
  const origin = `https://app.localhost:${port}`;
  const client = await createWebClient(curfew, origin, {
    allowed_logout_urls: [`${origin}/`],
    oidc_logout: {
      // Curfew reaches it under the name that every machine knows.
      backchannel_logout_urls: [`https://localhost:${port}/callback?logout=backchannel`],
      backchannel_logout_initiators: { mode: 'all' },
      // Of a token without `sid` it ends only sessions whose ID token had none either.
      backchannel_logout_session_required: true,
    },
  });
  const folder = mkdtempSync(join(process.env.CURFEW_E2E_SCRATCH, 'apache-'));
  // Its workers come by here on their way to the page and the authority; they cannot look around.
  chmodSync(process.env.CURFEW_E2E_SCRATCH, 0o711);
  chmodSync(folder, 0o755);
  const authority = join(folder, 'authority.pem');
  copyFileSync(certificates().authority, authority);
  mkdirSync(join(folder, 'pages'));
  writeFileSync(join(folder, 'pages/index.html'), '<!doctype html><title>Behind Apache</title><p role="status">signed in as <!--#echo var="REMOTE_USER" --></p>');
  writeFileSync(join(folder, 'apache.conf'), configuration({ folder, port, origin, issuer: curfew.issuer, client, authority }));

  const env = { PATH: process.env.PATH, TMPDIR: folder };
  const running = spawn('apache2', ['-f', join(folder, 'apache.conf'), '-D', 'FOREGROUND'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(running, 'exit');
  const told = [];
  running.stderr.on('data', (data) => told.push(String(data)));
  const close = async () => {
    running.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await fetch(`https://localhost:${port}/`, { redirect: 'manual' }).catch(() => undefined))) {
    if (running.exitCode !== null || Date.now() > deadline) {
      await close();
      assert.fail(`Apache does not answer:\n${told.join('')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { origin, client, log: () => readFileSync(join(folder, 'error.log'), 'utf8'), close };
}

onEachEngine('Apache', (engine) => {
  let curfew;
  let browser;
  let apache;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    apache = await openApache(curfew);
  });
  after(async () => {
    await apache?.close();
    await browser?.close();
    await curfew?.stop();
  });

  /** A browser in which `user` has come in at Apache. */
  async function signIn(t, user) {
    const page = await (await newPerson(browser, t)).newPage();
    const asked = page.waitForRequest((request) => request.url().startsWith(`${curfew.issuer}authorize?`));
    await page.goto(apache.origin);
    const { searchParams } = new URL((await asked).url());
    assert.equal(searchParams.get('response_type'), 'code');
    assert.equal(searchParams.get('code_challenge_method'), 'S256');
    await giveCredentials(page, user);
    await staysIn(page, user);
    // From here on Apache goes by its own session.
    await page.reload();
    await staysIn(page, user);
    return page;
  }

  async function staysIn(page, user) {
    await waitForStatus(page, `signed in as ${user.user_id}`).catch((error) => {
      throw new Error(`${error.message}\n${apache.log()}`);
    });
  }

  /** Comes again until Apache sends the browser to the login page. */
  async function isOut(page) {
    const deadline = Date.now() + PATIENCE_MS;
    do {
      await page.goto(apache.origin);
    } while (Date.now() < deadline && page.url().startsWith(apache.origin));
    assert.ok(page.url().startsWith(curfew.issuer), `still in at ${page.url()}\n${apache.log()}`);
    await waitForLoginPage(page);
  }

  test('a deleted session is over there at its next request, and only that one', async (t) => {
    const user = await createUser(curfew);
    const page = await signIn(t, user);
    const { data: [session] } = await curfew.management.users.sessions.list(user.user_id);
    const elsewhere = await signIn(t, user);
    await curfew.management.sessions.delete(session.id);
    await isOut(page);
    await elsewhere.reload();
    await staysIn(elsewhere, user);
  });

  test('a blocked user is out there, in every browser', async (t) => {
    const user = await createUser(curfew);
    const pages = [await signIn(t, user), await signIn(t, user)];
    await curfew.management.users.update(user.user_id, { blocked: true });
    for (const page of pages) await isOut(page);
  });

  test('a person logs out there, and is out at Curfew', async (t) => {
    const user = await createUser(curfew);
    const page = await signIn(t, user);
    const asked = page.waitForRequest((request) => request.url().startsWith(`${curfew.issuer}oidc/logout?`));
    await page.goto(`${apache.origin}/callback?logout=${encodeURIComponent(`${apache.origin}/`)}`);
    const { searchParams } = new URL((await asked).url());
    assert.ok(searchParams.get('id_token_hint'));
    assert.equal(searchParams.get('post_logout_redirect_uri'), `${apache.origin}/`);
    // Back at Apache, nobody is let in without a word.
    await waitForLoginPage(page);
    assert.deepEqual((await curfew.management.users.sessions.list(user.user_id)).data, []);
  });
});

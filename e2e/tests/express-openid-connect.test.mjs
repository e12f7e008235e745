// express-openid-connect: a server-rendered application on another site, with its own session.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import express from 'express';
import openidConnect from 'express-openid-connect';
import { giveCredentials, newPerson, openBrowser, waitForLoginPage, waitForStatus } from '../lib/browser.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser, createWebClient } from '../lib/setup.mjs';
import { openSite } from '../lib/site.mjs';

/** The application of the library's own introduction, at a site of its own. */
async function openApplication(curfew, { client: more, ...options }) {
  const site = await openSite('app.localhost');
  const client = await createWebClient(curfew, site.origin, more);
  const application = express();
  application.use(openidConnect.auth({
    issuerBaseURL: curfew.issuer,
    baseURL: site.origin,
    clientID: client.client_id,
    secret: 'a long secret that only the cookies of this application are sealed with',
    authRequired: false,
    idpLogout: true,
    ...(options.withSecret && { clientSecret: client.client_secret }),
    ...options.auth,
  }));
  application.get('/', (request, response) => {
    const { user } = request.oidc;
    response.type('html').send(`<!doctype html><title>Application</title><p role="status">${user ? `signed in as ${user.email}` : 'signed out'}</p><a href="/login">Log in</a> <a href="/logout">Log out</a>`);
  });
  application.use((error, _request, response, _next) => {
    response.status(error.status ?? 500).type('html').send(`<!doctype html><p role="status">${error.error}: ${error.error_description}</p>`);
  });
  site.answer = application;
  return { ...site, client };
}

/** What the library remembers of logout tokens, kept in memory. */
function logoutStore() {
  const entries = new Map();
  return {
    get: (id, done) => done(null, entries.get(id)),
    set: (id, entry, done) => done(null, entries.set(id, entry)),
    destroy: (id, done) => done(null, entries.delete(id)),
  };
}

onEachEngine('express-openid-connect', (engine) => {
  let curfew;
  let browser;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await curfew?.stop();
  });

  const kinds = {
    'its default, an ID token by form post': {},
    'code flow with a client secret': { withSecret: true, auth: { authorizationParams: { response_type: 'code' } } },
    'hybrid flow': { withSecret: true, auth: { authorizationParams: { response_type: 'code id_token' } } },
  };
  for (const [title, options] of Object.entries(kinds)) {
    describe(title, () => {
      let site;
      before(async () => { site = await openApplication(curfew, options); });
      after(() => site?.close());

      async function logIn(person, user) {
        const page = await person.newPage();
        await page.goto(site.origin);
        await waitForStatus(page, 'signed out');
        await page.getByRole('link', { name: 'Log in' }).click();
        await giveCredentials(page, user);
        await page.waitForURL(`${site.origin}/`);
        await waitForStatus(page, `signed in as ${user.email}`);
        return page;
      }

      test('a person logs in, and out again through end_session_endpoint', async (t) => {
        const user = await createUser(curfew);
        const page = await logIn(await newPerson(browser, t), user);
        const endSession = page.waitForRequest((request) => request.url().startsWith(`${curfew.issuer}oidc/logout`));
        await page.getByRole('link', { name: 'Log out' }).click();
        assert.ok(new URL((await endSession).url()).searchParams.get('id_token_hint'));
        await page.waitForURL(`${site.origin}/`);
        await waitForStatus(page, 'signed out');
        await page.getByRole('link', { name: 'Log in' }).click();
        await waitForLoginPage(page);
      });

      test('a blocked user comes back with the error', async (t) => {
        const user = await createUser(curfew);
        await curfew.management.users.update(user.user_id, { blocked: true });
        const page = await (await newPerson(browser, t)).newPage();
        await page.goto(`${site.origin}/login`);
        await giveCredentials(page, user);
        await page.waitForURL(`${site.origin}/callback**`);
        await waitForStatus(page, 'unauthorized: user is blocked');
      });
    });
  }

  test("a logout in Auth0's own way, at /v2/logout", async (t) => {
    const site = await openApplication(curfew, { auth: { auth0Logout: true } });
    t.after(() => site.close());
    const user = await createUser(curfew);
    const page = await (await newPerson(browser, t)).newPage();
    await page.goto(`${site.origin}/login`);
    await giveCredentials(page, user);
    await waitForStatus(page, `signed in as ${user.email}`);
    const logout = page.waitForRequest((request) => request.url().startsWith(`${curfew.issuer}v2/logout`));
    await page.getByRole('link', { name: 'Log out' }).click();
    await logout;
    await waitForStatus(page, 'signed out');
    await page.getByRole('link', { name: 'Log in' }).click();
    await waitForLoginPage(page);
  });

  describe('with back-channel logout', () => {
    const endings = {
      'a deleted session': async (user) => {
        const sessions = await curfew.management.users.sessions.list(user.user_id);
        for (const { id } of sessions.data) await curfew.management.sessions.delete(id);
      },
      'a blocked user': (user) => curfew.management.users.update(user.user_id, { blocked: true }),
      'a changed password': (user) => curfew.management.users.update(user.user_id, { password: 'Another-Password-of-theirs-2' }),
    };
    for (const [title, end] of Object.entries(endings)) {
      test(`${title} is over at the application, at its next request`, async (t) => {
        const site = await openApplication(curfew, { auth: { backchannelLogout: { store: logoutStore() } } });
        t.after(() => site.close());
        // Curfew reaches it under the name that every machine knows.
        const url = new URL('/backchannel-logout', site.origin.replace('app.localhost', 'localhost')).href;
        const logout = { backchannel_logout_urls: [url], backchannel_logout_initiators: { mode: 'all' } };
        await curfew.management.clients.update(site.client.client_id, { oidc_logout: logout });
        const user = await createUser(curfew);
        const page = await (await newPerson(browser, t)).newPage();
        await page.goto(`${site.origin}/login`);
        await giveCredentials(page, user);
        await waitForStatus(page, `signed in as ${user.email}`);
        await page.reload();
        await waitForStatus(page, `signed in as ${user.email}`);
        await end(user);
        const deadline = Date.now() + 5_000;
        do {
          await page.reload();
        } while (Date.now() < deadline && await page.getByRole('status').textContent() !== 'signed out');
        await waitForStatus(page, 'signed out');
      });
    }
  });

  test('a person without script logs in, by code flow and by form post', async (t) => {
    const user = await createUser(curfew);
    const person = await newPerson(browser, t, { javaScriptEnabled: false });
    const code = await openApplication(curfew, kinds['code flow with a client secret']);
    t.after(() => code.close());
    const page = await person.newPage();
    await page.goto(`${code.origin}/login`);
    await giveCredentials(page, user);
    await waitForStatus(page, `signed in as ${user.email}`);
    const formPost = await openApplication(curfew, {});
    t.after(() => formPost.close());
    await page.goto(`${formPost.origin}/login`);
    await page.locator('button').click();
    await waitForStatus(page, `signed in as ${user.email}`);
  });

});

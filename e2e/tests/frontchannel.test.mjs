// OIDC Front-Channel Logout: applications that only the browser can tell, in frames of the page after a logout.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as openid from 'openid-client';
import { newPerson, openBrowser, waitForStatus } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser, createWebClient } from '../lib/setup.mjs';
import { openSite } from '../lib/site.mjs';

/**
 * An application whose session is a cookie and nothing else: it begins at `/callback`, and ends at `/front`,
 * which notes its parameters in `told`.
 */
async function openApplication(curfew, host, name) {
  const site = await openSite(host);
  const told = [];
  const application = { ...site, told, answers: true };
  site.answer = (request, response) => {
    const { pathname, searchParams } = new URL(request.url, site.origin);
    const cookie = (value, more = '') => response.setHeader('set-cookie', `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=None${more}`);
    if (pathname === '/callback') cookie('in');
    if (pathname === '/front') {
      told.push(Object.fromEntries(searchParams));
      if (!application.answers) return;
      cookie('', '; Max-Age=0');
    }
    const signedIn = request.headers.cookie?.split('; ').includes(`${name}=in`);
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>${name}</title><p role="status">${signedIn ? 'signed in' : 'signed out'}</p>`);
  };
  const client = await createWebClient(curfew, site.origin, {
    allowed_logout_urls: [`${site.origin}/bye`],
    frontchannel_logout_uri: `${site.origin}/front`,
    frontchannel_logout_session_required: true,
  });
  return Object.assign(application, { configuration: await discover(curfew, client) });
}

onEachEngine('front-channel logout', (engine) => {
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

  /** Somebody who is signed in at two applications, and is about to leave at the first. */
  async function signIn(t, options) {
    // Another site for the one where they leave; the other is Curfew's own, so that its cookies reach it in a frame.
    const one = await openApplication(curfew, 'app.localhost', 'one');
    const other = await openApplication(curfew, 'localhost', 'other');
    t.after(() => Promise.all([one.close(), other.close()]));
    const person = await newPerson(browser, t, options);
    const enter = ({ configuration, origin }, more) => codeFlow(configuration, person, { redirect_uri: `${origin}/callback`, ...more });
    const { tokens } = await enter(one, { user: await createUser(curfew) });
    await enter(other);
    const page = await person.newPage();
    await page.goto(other.origin);
    await waitForStatus(page, 'signed in');
    const end = openid.buildEndSessionUrl(one.configuration, {
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: `${one.origin}/bye`,
      state: 'x&y',
    });
    return { one, other, page, end: end.href, bye: `${one.origin}/bye?state=x%26y`, sid: tokens.claims().sid };
  }

  async function isOut({ one, other, page, sid }) {
    for (const { told } of [one, other]) assert.deepEqual(told, [{ iss: curfew.issuer, sid }]);
    await page.goto(other.origin);
    await waitForStatus(page, 'signed out');
  }

  test('who leaves at one application is out at the other', async (t) => {
    const signedIn = await signIn(t);
    const { page, end, bye } = signedIn;
    const problems = [];
    page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()); });
    await page.goto(end);
    await page.waitForURL(bye);
    assert.deepEqual(problems.filter((text) => text.includes('Content Security Policy')), []);
    await isOut(signedIn);
  });

  test('without script, and by keyboard', async (t) => {
    const signedIn = await signIn(t, { javaScriptEnabled: false, viewport: { width: 360, height: 640 } });
    const { page, end, bye } = signedIn;
    await page.goto(end);
    await page.getByRole('link', { name: 'Continue' }).press('Enter');
    await page.waitForURL(bye);
    await isOut(signedIn);
  });

  test('an application that does not answer holds nobody up for long', async (t) => {
    const { other, page, end, bye, sid } = await signIn(t);
    other.answers = false;
    await page.goto(end, { waitUntil: 'commit' });
    const since = Date.now();
    await page.waitForURL(bye);
    const waited = Date.now() - since;
    assert.ok(waited > 2_000 && waited < 10_000, `${waited} ms`);
    assert.deepEqual(other.told, [{ iss: curfew.issuer, sid }]);
  });
});

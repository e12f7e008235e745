// The live line beside @auth0/auth0-spa-js in a real browser: an application hears that its session has ended.

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { giveCredentials, newPerson, openBrowser, waitForStatus } from '../lib/browser.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser } from '../lib/setup.mjs';
import { openSpa } from '../lib/spa.mjs';

test('the script is smaller than 2 KB', () => {
  const { size } = statSync(join(import.meta.dirname, '../../clients/js/live/live.js'));
  assert.ok(size < 2000, `${size} bytes`);
});

onEachEngine('the live line', (engine) => {
  let curfew;
  let browser;
  /** Another site than Curfew's: its cookies there are a third party's. */
  let spa;

  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    spa = await openSpa(curfew, { host: 'app.localhost', authorizationParams: { scope: 'openid profile email' } });
  });
  after(async () => {
    await browser?.close();
    await spa?.close();
    await curfew?.stop();
  });

  /** Signs somebody in and watches the session; `heard` resolves with what was said, and when. */
  async function watching(t, domain = curfew.domain) {
    const user = await createUser(curfew);
    const person = await newPerson(browser, t);
    const page = await person.newPage();
    await page.goto(spa.origin);
    await page.click('#log-in');
    await giveCredentials(page, user);
    await waitForStatus(page, `signed in as ${user.email}`);
    const opened = page.waitForResponse((response) => response.url().includes('/session/live?'));
    await page.evaluate(async (domain) => {
      const { watchSession } = await import('/live.js');
      window.ended = new Promise((resolve) => {
        watchSession({
          domain,
          idToken: async () => (await window.client.getIdTokenClaims()).__raw,
          check: () => window.client.getTokenSilently({ cacheMode: 'off' }),
          onEnded: (told) => resolve({ ...told, heard: Date.now() }),
          every: 500,
        });
      });
    }, domain);
    await opened;
    return { user, person, page, heard: () => page.evaluate(() => window.ended) };
  }

  test('hears that the user was blocked', async (t) => {
    const { user, heard } = await watching(t);
    await curfew.management.users.update(user.user_id, { blocked: true });
    const answered = Date.now();
    const told = await heard();
    assert.equal(told.cause, 'user_blocked');
    console.log(`# heard ${told.heard - answered} ms after the answer to PATCH blocked`);
  });

  test('hears that somebody logged out in another tab', async (t) => {
    // The domain with its scheme, as a server without TLS is named.
    const { person, heard } = await watching(t, `https://${curfew.domain}`);
    const tab = await person.newPage();
    await tab.goto(`${curfew.issuer}v2/logout?client_id=${spa.client.client_id}`);
    assert.equal((await heard()).cause, 'rp_logout');
  });

  test('finds out by itself after the server was away', async (t) => {
    const { user, heard } = await watching(t);
    await curfew.crash();
    await curfew.management.users.update(user.user_id, { blocked: true });
    await heard();
  });
});

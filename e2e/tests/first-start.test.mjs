// What a stranger sees who starts Curfew without any configuration and opens the link it prints.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPerson, openBrowser, waitForLoginPage } from '../lib/browser.mjs';
import { startUnconfigured } from '../lib/curfew.mjs';

let curfew;
let browser;
before(async () => {
  curfew = await startUnconfigured();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await curfew?.stop();
});

test('the link makes the first administrator and shows working credentials, once', async (t) => {
  assert.ok(curfew.link.startsWith(curfew.issuer), curfew.link);
  const person = await newPerson(browser, t);
  const page = await person.newPage();
  await page.goto(curfew.link);
  await page.getByLabel('Email address').fill('ada@example.com');
  await page.getByLabel('Password', { exact: true }).fill('The-first-Administrator-1');
  await page.locator('button[type=submit]').click();
  const shown = (id) => page.locator(`#${id}`).inputValue();
  const [client_id, client_secret, audience, spaClientId] = [await shown('m2m-client-id'), await shown('m2m-client-secret'), await shown('m2m-audience'), await shown('spa-client-id')];

  const answer = await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret, audience }) });
  assert.equal(answer.status, 200);
  const { access_token } = await answer.json();
  const client = await (await fetch(`${curfew.issuer}api/v2/clients/${spaClientId}`, { headers: { authorization: `Bearer ${access_token}` } })).json();
  assert.equal(client.app_type, 'spa');
  assert.deepEqual(client.web_origins, ['http://localhost:3000']);

  await page.goto(`${curfew.issuer}authorize?${new URLSearchParams({ client_id: spaClientId, response_type: 'code', redirect_uri: client.callbacks[0], scope: 'openid', state: 's', code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' })}`);
  await waitForLoginPage(page);

  const again = await page.goto(curfew.link);
  assert.ok(again.status() >= 400 && again.status() < 500);
  await page.locator('h1').waitFor();
  assert.equal(await page.locator('input[name=password]').count(), 0);
});

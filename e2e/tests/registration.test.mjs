// Actions around signing up: what a person sees of them in a browser, and what hears of the new user.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPerson, nextPage, openBrowser, signUp } from '../lib/browser.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createMachineClient, createWebClient } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

const PRE = `exports.onExecutePreUserRegistration = async (event, api) => {
  if (!event.user.email.endsWith('@example.com')) api.access.deny('another domain', 'Only people of example.com, please.');
  api.user.setAppMetadata('vetted', true);
};`;
const POST = 'exports.onExecutePostUserRegistration = async (event) => { console.log(event.user.app_metadata.vetted); };';

onEachEngine('signing up, with Actions', (engine) => {
  let curfew;
  let browser;
  let site;
  let client;
  let token;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    site = await openSite('app.localhost', blank);
    client = await createWebClient(curfew, site.origin);
    const audience = `${curfew.issuer}api/v2/`;
    const { client_id, client_secret } = await createMachineClient(curfew, audience, ['read:actions']);
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret, audience });
    ({ access_token: token } = await (await fetch(`${curfew.issuer}oauth/token`, { method: 'POST', body })).json());
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    await curfew?.stop();
  });

  async function until(what, found) {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const value = await found();
      if (value) return value;
      assert.ok(Date.now() < deadline, what);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  }

  async function bind(trigger, code) {
    const { actions } = curfew.management;
    const { id } = await actions.create({ name: trigger, supported_triggers: [{ id: trigger, version: 'v2' }], code });
    await until('it is built', async () => (await actions.get(id)).status === 'built');
    await actions.deploy(id);
    const bindings = [{ ref: { type: 'action_id', value: id }, display_name: trigger }];
    await actions.triggers.bindings.updateMany(trigger, { bindings });
  }

  async function executions(trigger) {
    const url = `${curfew.issuer}api/v2/actions/executions?trigger_id=${trigger}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 200);
    return (await answer.json()).executions;
  }

  test('who is told no reads why, and who is not is heard of', async (t) => {
    await bind('pre-user-registration', PRE);
    await bind('post-user-registration', POST);
    const page = await (await newPerson(browser, t)).newPage();
    const asked = new URLSearchParams({
      response_type: 'code', client_id: client.client_id, redirect_uri: `${site.origin}/callback`, scope: 'openid', state: 'x', screen_hint: 'signup',
    });
    await page.goto(`${curfew.issuer}authorize?${asked}`);
    const person = { email: 'ada@elsewhere.example', password: 'A-fine-Password-1' };
    await nextPage(page, () => signUp(page, person));
    assert.equal(await page.getByRole('alert').innerText(), 'Only people of example.com, please.');
    assert.ok(!(await page.content()).includes('another domain'));
    assert.deepEqual(await executions('post-user-registration'), []);

    await signUp(page, { ...person, email: 'ada@example.com' });
    await page.waitForURL(`${site.origin}/callback?*`);
    const [execution] = await until('it is heard of', async () => {
      const listed = await executions('post-user-registration');
      return listed.length > 0 && listed;
    });
    assert.equal(execution.status, 'final');
    assert.deepEqual(execution.results[0].logs, [{ level: 'log', text: 'true' }]);
    const [user] = await curfew.management.users.listUsersByEmail({ email: 'ada@example.com' });
    assert.deepEqual(user.app_metadata, { vetted: true });
  });
});

// OIDC Session Management in a real browser: an application asks Curfew's frame whether who is logged in has changed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPerson, openBrowser } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser, createWebClient } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

onEachEngine('session management', (engine) => {
  let curfew;
  let browser;
  /** The same site as Curfew: its cookies are first-party in a frame. */
  let site;
  /** Another site, where the browser withholds them. */
  let foreign;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    site = await openSite('localhost', blank);
    foreign = await openSite('app.localhost', blank);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    await foreign?.close();
    await curfew?.stop();
  });

  async function newClient(origin) {
    const client = await createWebClient(curfew, origin);
    return { ...client, origin, configuration: await discover(curfew, client) };
  }

  /** A login, or with nobody a silent one; the `session_state` it came back with. */
  async function signIn(person, client, user) {
    const silent = user ? {} : { prompt: 'none' };
    const { callback } = await codeFlow(client.configuration, person, { user, redirect_uri: `${client.origin}/callback`, ...silent });
    const state = callback.searchParams.get('session_state');
    assert.match(state, /^[\w-]{43}\.\w{16}$/);
    return state;
  }

  /** A page of the application with Curfew's frame in it, as the specification draws it (§3.1). */
  async function openApplication(person, { configuration, origin }) {
    const page = await person.newPage();
    await page.goto(`${origin}/application`);
    await page.evaluate((src) => new Promise((resolve) => {
      const frame = document.createElement('iframe');
      Object.assign(frame, { src, name: 'op', hidden: true, onload: resolve });
      document.body.append(frame);
      window.ask = (message) => new Promise((answered) => {
        const op = window.frames.op;
        const listen = (event) => {
          if (event.source !== op || event.origin !== new URL(src).origin) return;
          removeEventListener('message', listen);
          answered(event.data);
        };
        addEventListener('message', listen);
        op.postMessage(message, new URL(src).origin);
      });
    }), configuration.serverMetadata().check_session_iframe);
    return (message) => page.evaluate((text) => window.ask(text), message);
  }

  test('unchanged after the login, changed after the logout', async (t) => {
    const [client, user] = [await newClient(site.origin), await createUser(curfew)];
    const person = await newPerson(browser, t);
    const state = await signIn(person, client, user);
    const ask = await openApplication(person, client);
    assert.equal(await ask(`${client.client_id} ${state}`), 'unchanged');
    const silent = await signIn(person, client);
    assert.notEqual(silent, state);
    assert.equal(await ask(`${client.client_id} ${silent}`), 'unchanged');
    assert.equal(await ask(`${client.client_id} ${state}`), 'unchanged');
    const tab = await person.newPage();
    await tab.goto(`${curfew.issuer}v2/logout?client_id=${client.client_id}`);
    assert.equal(await ask(`${client.client_id} ${state}`), 'changed');
    // Somebody else logs in: still another state, and one of their own.
    const next = await signIn(person, client, await createUser(curfew));
    assert.equal(await ask(`${client.client_id} ${state}`), 'changed');
    assert.equal(await ask(`${client.client_id} ${next}`), 'unchanged');
  });

  test('what is no such message is an error, and what is of another client or origin has changed', async (t) => {
    const [client, user] = [await newClient(site.origin), await createUser(curfew)];
    const person = await newPerson(browser, t);
    const state = await signIn(person, client, user);
    const ask = await openApplication(person, client);
    for (const malformed of ['', 'nonsense', client.client_id, ` ${state}`, `${client.client_id} ${state.split('.')[0]}`, `${client.client_id} ${state} more`, null, 1, { state }]) {
      assert.equal(await ask(malformed), 'error', JSON.stringify(malformed));
    }
    assert.equal(await ask(`another ${state}`), 'changed');
    assert.equal(await ask(`${client.client_id} ${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`), 'changed');
    // The state was made for this origin.
    const other = await newClient(foreign.origin);
    const elsewhere = await openApplication(person, other);
    assert.equal(await elsewhere(`${client.client_id} ${state}`), 'changed');
  });

  test('a frame of another origin in the application gets no answer', async (t) => {
    const [client, user] = [await newClient(site.origin), await createUser(curfew)];
    const person = await newPerson(browser, t);
    const state = await signIn(person, client, user);
    const ask = await openApplication(person, client);
    const page = person.pages().at(-1);
    await page.evaluate((src) => new Promise((resolve) => {
      document.body.append(Object.assign(document.createElement('iframe'), { src, name: 'foreign', onload: resolve }));
    }), `${foreign.origin}/frame`);
    const frame = page.frame('foreign');
    await frame.evaluate((text) => {
      window.heard = [];
      addEventListener('message', (event) => window.heard.push(event.data));
      window.parent.frames.op.postMessage(text, '*');
    }, `${client.client_id} ${state}`);
    // What was sent later is answered.
    assert.equal(await ask(`${client.client_id} ${state}`), 'unchanged');
    assert.deepEqual(await frame.evaluate(() => window.heard), []);
  });

  test('the browser’s state is readable and opens nothing', async (t) => {
    const [client, user] = [await newClient(site.origin), await createUser(curfew)];
    const person = await newPerson(browser, t);
    await signIn(person, client, user);
    const cookies = Object.fromEntries((await person.cookies(curfew.issuer)).map((cookie) => [cookie.name, cookie]));
    const { '__Host-curfew': session, '__Host-curfew-state': state } = cookies;
    assert.deepEqual([state.httpOnly, state.secure, state.sameSite], [false, true, 'None']);
    assert.equal(session.httpOnly, true);
    assert.ok(!state.value.includes(session.value) && !session.value.includes(state.value));
    const stranger = await newPerson(browser, t);
    await stranger.addCookies([state, { ...session, value: state.value }]);
    const page = await stranger.newPage();
    await page.goto(`${curfew.issuer}authorize?${new URLSearchParams({ client_id: client.client_id, redirect_uri: `${site.origin}/callback`, response_type: 'code', prompt: 'none' })}`);
    assert.equal(new URL(page.url()).searchParams.get('error'), 'login_required');
  });
});

// @auth0/auth0-spa-js in a real browser: the first life cycle of a person's access, and its end.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { answer, errorPage, giveCredentials, giveCredentialsByKeyboard, newPerson, nextPage, openBrowser, signUp, tabTo, waitForLoginPage, waitForStatus } from '../lib/browser.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createUser } from '../lib/setup.mjs';
import { openSpa } from '../lib/spa.mjs';

/** `getTokenSilently` in the page: `{ token }`, or `{ error, description }` as the SDK throws it. */
const getTokenSilently = (page, options) => page.evaluate((given) => window.client.getTokenSilently(given).then(
  (token) => ({ token }),
  (error) => ({ error: error.error, description: error.error_description ?? error.message }),
), options);

/** What `action` answered, and the requests to Curfew that the browser sent meanwhile. */
async function requestsDuring(page, { issuer }, action) {
  const requests = [];
  const note = (request) => {
    if (request.url().startsWith(issuer) && request.method() !== 'OPTIONS') requests.push(`${request.method()} ${new URL(request.url()).pathname}`);
  };
  page.context().on('request', note);
  const answer = await action();
  page.context().off('request', note);
  return { answer, requests };
}

const claims = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url'));
const LOGIN_REQUIRED = { error: 'login_required', description: 'Login required' };

onEachEngine('auth0-spa-js', (engine) => {
  let curfew;
  let browser;
  let api;
  /** Same site as Curfew, tokens from a hidden frame. */
  let framed;
  /** Another site, tokens from rotating refresh tokens. */
  let refreshing;
  /** Another site, but tokens from a hidden frame all the same. */
  let foreign;

  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    api = await createApi(curfew);
    const authorizationParams = { audience: api.identifier, scope: 'openid profile email read:things' };
    framed = await openSpa(curfew, { authorizationParams });
    refreshing = await openSpa(curfew, { host: 'app.localhost', useRefreshTokens: true, authorizationParams });
    foreign = await openSpa(curfew, { host: 'app.localhost', authorizationParams });
  });

  after(async () => {
    await browser?.close();
    for (const site of [framed, refreshing, foreign]) await site?.close();
    await curfew?.stop();
  });

  const block = (user, blocked) => curfew.management.users.update(user.user_id, { blocked });

  /** Opens `spa` and presses its button. */
  async function pressLogIn(context, spa, button = 'Log in') {
    const page = await context.newPage();
    await page.goto(spa.origin);
    await waitForStatus(page, 'signed out');
    await page.getByRole('button', { name: button }).click();
    return page;
  }

  /** A page of `spa` in which `user` has logged in through the login page. */
  async function logIn(context, spa, user) {
    const page = await pressLogIn(context, spa);
    await giveCredentials(page, user);
    await waitForStatus(page, `signed in as ${user.email}`);
    return page;
  }

  describe('to come in and to stay in', () => {
    test('a person logs in with the keyboard alone', async (t) => {
      const user = await createUser(curfew);
      const page = await (await newPerson(browser, t)).newPage();
      await page.goto(framed.origin);
      await waitForStatus(page, 'signed out');
      await tabTo(page, page.getByRole('button', { name: 'Log in' }));
      await page.keyboard.press('Enter');
      await giveCredentialsByKeyboard(page, user);
      await waitForStatus(page, `signed in as ${user.email}`);
      const idToken = await page.evaluate(() => window.client.getIdTokenClaims());
      assert.equal(idToken.iss, curfew.issuer);
      assert.equal(idToken.sub, user.user_id);
      assert.equal(idToken.aud, framed.client.client_id);
      assert.equal(idToken.email, user.email);
      assert.match(idToken.sid, /^[A-Za-z0-9_-]{32}$/);
    });

    test('a wrong password, and an unknown user, get the same words and stay outside', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      for (const email of [user.email, 'nobody@example.com']) {
        const page = await pressLogIn(person, framed);
        await giveCredentials(page, { email, password: 'not-the-Password-1' });
        assert.equal(await page.getByRole('alert').innerText(), 'Wrong email or password.');
      }
    });

    test('the login page fits a narrow phone', async (t) => {
      const page = await pressLogIn(await newPerson(browser, t, { viewport: { width: 320, height: 640 } }), framed);
      await waitForLoginPage(page);
      assert.ok(await page.evaluate(() => document.scrollingElement.scrollWidth <= window.innerWidth));
    });

    test('a person signs up on the sign-up page and is signed in', async (t) => {
      const email = `new-${Date.now()}@example.com`;
      const page = await pressLogIn(await newPerson(browser, t), framed, 'Sign up');
      await signUp(page, { email, password: 'A-Brand-new-Password-1' });
      await waitForStatus(page, `signed in as ${email}`);
      const [{ logins_count }] = await curfew.management.users.listUsersByEmail({ email });
      assert.equal(logins_count, 1);
    });

    test('a token comes from the cache without a request', async (t) => {
      const page = await logIn(await newPerson(browser, t), framed, await createUser(curfew));
      const { answer, requests } = await requestsDuring(page, curfew, () => getTokenSilently(page));
      assert.equal(claims(answer.token).aud[0], api.identifier);
      assert.deepEqual(requests, []);
    });

    test('with cacheMode off a new token comes through the hidden frame, of the same session', async (t) => {
      const user = await createUser(curfew);
      const page = await logIn(await newPerson(browser, t), framed, user);
      const { token: first } = await getTokenSilently(page);
      const { answer, requests } = await requestsDuring(page, curfew, () => getTokenSilently(page, { cacheMode: 'off' }));
      assert.deepEqual(requests, ['GET /authorize', 'POST /oauth/token']);
      assert.notEqual(answer.token, first);
      assert.equal(claims(answer.token).sub, user.user_id);
      assert.equal(claims(answer.token).sid, claims(first).sid);
      assert.equal(claims(answer.token).scope, 'openid profile email read:things');
    });

    test('with refresh tokens every new token comes from a rotation, never through a frame', async (t) => {
      const user = await createUser(curfew);
      const page = await logIn(await newPerson(browser, t), refreshing, user);
      const seen = new Set([(await getTokenSilently(page)).token]);
      for (let rotation = 1; rotation <= 3; rotation += 1) {
        const { answer, requests } = await requestsDuring(page, curfew, () => getTokenSilently(page, { cacheMode: 'off' }));
        assert.deepEqual(requests, ['POST /oauth/token']);
        assert.equal(claims(answer.token).sub, user.user_id);
        assert.equal(seen.has(answer.token), false);
        seen.add(answer.token);
      }
    });

    test('in a frame on another site the browser withholds the cookie, and the answer is login_required', async (t) => {
      const page = await logIn(await newPerson(browser, t), foreign, await createUser(curfew));
      assert.deepEqual(await getTokenSilently(page, { cacheMode: 'off' }), LOGIN_REQUIRED);
    });

    test('a second application lets the person in without asking again', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const first = await logIn(person, framed, user);
      const second = await pressLogIn(person, refreshing);
      await waitForStatus(second, `signed in as ${user.email}`);
      const sid = (page) => page.evaluate(async () => (await window.client.getIdTokenClaims()).sid);
      assert.equal(await sid(second), await sid(first));
    });

    test('a person logs in in a window of its own, which closes by itself', async (t) => {
      const user = await createUser(curfew);
      const page = await (await newPerson(browser, t)).newPage();
      await page.goto(framed.origin);
      await waitForStatus(page, 'signed out');
      const opened = page.waitForEvent('popup');
      await page.evaluate(() => { window.loggedIn = window.client.loginWithPopup(); });
      const popup = await opened;
      const closed = popup.waitForEvent('close');
      await giveCredentials(popup, user);
      await page.evaluate(() => window.loggedIn);
      await closed;
      assert.equal((await page.evaluate(() => window.client.getUser())).sub, user.user_id);
    });

    test('a page whose origin the client does not list gets no answer out of a frame', async (t) => {
      const thief = await openSpa(curfew, {
        clientId: framed.client.client_id,
        authorizeTimeoutInSeconds: 2,
        authorizationParams: { redirect_uri: `${framed.origin}/callback`, scope: 'openid profile email' },
      });
      t.after(() => thief.close());
      const person = await newPerson(browser, t);
      await logIn(person, framed, await createUser(curfew));
      const page = await person.newPage();
      const refused = page.waitForEvent('console', (message) => message.text().includes('frame-ancestors'));
      await page.goto(thief.origin);
      await waitForStatus(page, 'signed out');
      assert.equal((await getTokenSilently(page, { cacheMode: 'off' })).error, 'timeout');
      await refused;
    });

    test('two tabs log in at once, and both succeed', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const tabs = [await pressLogIn(person, framed), await pressLogIn(person, framed)];
      for (const tab of tabs) await waitForLoginPage(tab);
      for (const tab of tabs) {
        await giveCredentials(tab, user);
        await waitForStatus(tab, `signed in as ${user.email}`);
      }
      for (const tab of tabs) {
        const { token } = await getTokenSilently(tab, { cacheMode: 'off' });
        assert.equal(claims(token).sub, user.user_id);
      }
    });

    test('an application that is not known, or a foreign callback, gets an error page and no redirect', async (t) => {
      const page = await (await newPerson(browser, t)).newPage();
      const authorize = (parameters) => `${curfew.issuer}authorize?${new URLSearchParams({ response_type: 'code', scope: 'openid', ...parameters })}`;
      const unknown = await page.goto(authorize({ client_id: 'nobody', redirect_uri: `${framed.origin}/callback` }));
      assert.ok(unknown.status() >= 400 && unknown.status() < 500);
      assert.match(await errorPage(page, curfew), /unknown client/i);
      const mismatch = await page.goto(authorize({ client_id: framed.client.client_id, redirect_uri: 'https://evil.example.com/' }));
      assert.ok(mismatch.status() >= 400 && mismatch.status() < 500);
      assert.match(await errorPage(page, curfew), /callback url mismatch/i);
    });
  });

  describe('consent', () => {
    let asking;
    before(async () => {
      const closed = await createApi(curfew, { skip_consent_for_verifiable_first_party_clients: false });
      asking = await openSpa(curfew, {
        client: { skip_non_verifiable_callback_uri_confirmation_prompt: false },
        authorizationParams: { audience: closed.identifier, scope: 'openid profile email read:things' },
      });
    });
    after(() => asking?.close());

    test('is asked for once, and remembered as a grant', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const page = await pressLogIn(person, asking);
      await giveCredentials(page, user);
      await answer(page, 'accept');
      await waitForStatus(page, `signed in as ${user.email}`);
      const grants = await curfew.management.userGrants.list({ user_id: user.user_id });
      assert.deepEqual(grants.data.map(({ clientID }) => clientID), [asking.client.client_id]);
      const later = await person.newPage();
      await later.goto(asking.origin);
      await waitForStatus(later, `signed in as ${user.email}`);
    });

    test('can be refused, and the application hears access_denied', async (t) => {
      const page = await pressLogIn(await newPerson(browser, t), asking);
      await giveCredentials(page, await createUser(curfew));
      await answer(page, 'deny');
      await waitForStatus(page, 'access_denied: User did not authorize the request');
    });

    test('given after the session was ended in another tab yields nothing', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const ended = await logIn(person, framed, user);
      const waiting = await pressLogIn(person, asking);
      await waiting.locator('button[name=action][value=accept]').waitFor();
      await ended.getByRole('button', { name: 'Log out' }).click();
      await waitForStatus(ended, 'signed out');
      await nextPage(waiting, () => answer(waiting, 'accept'));
      assert.ok(waiting.url().startsWith(curfew.issuer), `the application got an answer: ${waiting.url()}`);
      await waiting.goto(asking.origin);
      await waitForStatus(waiting, 'signed out');
      assert.deepEqual(await getTokenSilently(waiting), LOGIN_REQUIRED);
    });
  });

  describe('article 1, blocking a user', () => {
    test('silent login answers login_required, while the cache still answers', async (t) => {
      const user = await createUser(curfew);
      const page = await logIn(await newPerson(browser, t), framed, user);
      const { token } = await getTokenSilently(page, { cacheMode: 'off' });
      assert.equal((await block(user, true)).blocked, true);
      assert.deepEqual(await getTokenSilently(page), { token });
      assert.deepEqual(await getTokenSilently(page, { cacheMode: 'off' }), LOGIN_REQUIRED);
    });

    test('the next log-in asks for the password again, and lands on the callback: user is blocked', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const page = await logIn(person, framed, user);
      await block(user, true);
      await page.getByRole('button', { name: 'Log in' }).click();
      await giveCredentials(page, { email: user.email, password: 'not-the-Password-1' });
      assert.equal(await page.getByRole('alert').innerText(), 'Wrong email or password.');
      await giveCredentials(page, user);
      await page.waitForURL(`${framed.origin}/callback?*`);
      const { searchParams } = new URL(page.url());
      assert.equal(searchParams.get('error'), 'unauthorized');
      assert.equal(searchParams.get('error_description'), 'user is blocked');
      await waitForStatus(page, 'unauthorized: user is blocked');
    });

    test('a refresh answers: user is blocked', async (t) => {
      const user = await createUser(curfew);
      const page = await logIn(await newPerson(browser, t), refreshing, user);
      assert.ok((await getTokenSilently(page, { cacheMode: 'off' })).token);
      await block(user, true);
      assert.deepEqual(await getTokenSilently(page, { cacheMode: 'off' }), { error: 'invalid_grant', description: 'user is blocked' });
    });

    test('unblocking restores the log-in, but nothing that was ended', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const silent = await logIn(person, framed, user);
      const page = await pressLogIn(person, refreshing);
      await waitForStatus(page, `signed in as ${user.email}`);
      await block(user, true);
      await block(user, false);
      assert.deepEqual(await getTokenSilently(page, { cacheMode: 'off' }), { error: 'invalid_grant', description: 'Unknown or invalid refresh token.' });
      assert.deepEqual(await getTokenSilently(silent, { cacheMode: 'off' }), LOGIN_REQUIRED);
      await page.getByRole('button', { name: 'Log in' }).click();
      await giveCredentials(page, user);
      await waitForStatus(page, `signed in as ${user.email}`);
      assert.ok((await getTokenSilently(page, { cacheMode: 'off' })).token);
    });
  });

  describe('to be put out', () => {
    test('an application gives its refresh token back', async (t) => {
      const user = await createUser(curfew);
      const page = await logIn(await newPerson(browser, t), refreshing, user);
      assert.equal((await curfew.management.users.refreshToken.list(user.user_id)).data.length, 1);
      await page.evaluate(() => window.client.revokeRefreshToken());
      assert.deepEqual((await curfew.management.users.refreshToken.list(user.user_id)).data, []);
      assert.match((await getTokenSilently(page, { cacheMode: 'off' })).description, /^Missing Refresh Token/);
    });

    test('logout ends the session for every application of the browser', async (t) => {
      const user = await createUser(curfew);
      const person = await newPerson(browser, t);
      const page = await logIn(person, framed, user);
      const elsewhere = await logIn(await newPerson(browser, t), framed, user);
      const other = await person.newPage();
      await other.goto(framed.origin);
      await waitForStatus(other, `signed in as ${user.email}`);
      await page.getByRole('button', { name: 'Log out' }).click();
      await waitForStatus(page, 'signed out');
      assert.deepEqual(await getTokenSilently(page), LOGIN_REQUIRED);
      assert.deepEqual(await getTokenSilently(other, { cacheMode: 'off' }), LOGIN_REQUIRED);
      assert.ok((await getTokenSilently(elsewhere, { cacheMode: 'off' })).token, 'another browser of the same person stays signed in');
    });

    test('logout takes the refresh tokens of the session with it where that was chosen', async (t) => {
      for (const choice of ['keep', 'revoke']) {
        await curfew.management.clients.update(refreshing.client.client_id, { ending_policies: { rp_logout: { refresh_tokens: choice } } });
        const user = await createUser(curfew);
        const person = await newPerson(browser, t);
        const page = await logIn(person, framed, user);
        const other = await pressLogIn(person, refreshing);
        await waitForStatus(other, `signed in as ${user.email}`);
        await page.getByRole('button', { name: 'Log out' }).click();
        await waitForStatus(page, 'signed out');
        const { token, error, description } = await getTokenSilently(other, { cacheMode: 'off' });
        if (choice === 'keep') assert.ok(token, description);
        else assert.deepEqual({ error, description }, { error: 'invalid_grant', description: 'Unknown or invalid refresh token.' });
      }
      await curfew.management.clients.update(refreshing.client.client_id, { ending_policies: null });
    });

    test('Back to the login page and the same form posted again, after a logout, yield nothing', async (t) => {
      const user = await createUser(curfew);
      const page = await pressLogIn(await newPerson(browser, t), framed);
      const posts = [];
      page.on('request', (request) => { if (request.method() === 'POST' && request.isNavigationRequest()) posts.push(request); });
      await giveCredentials(page, user);
      await waitForStatus(page, `signed in as ${user.email}`);
      const last = posts.at(-1);
      const fields = Object.fromEntries(new URLSearchParams(last.postData()));
      assert.ok(Object.values(fields).includes(user.password), 'the request that is repeated carries the password');
      await page.getByRole('button', { name: 'Log out' }).click();
      await waitForStatus(page, 'signed out');

      for (let steps = 0; !page.url().startsWith(curfew.issuer); steps += 1) {
        assert.ok(steps < 6, 'the login page is in the history');
        await page.goBack();
      }
      assert.match(await errorPage(page, curfew), /couldn.t find your session/);
      const headers = { ...await last.allHeaders() };
      for (const name of Object.keys(headers)) if (name.startsWith(':') || ['cookie', 'content-length'].includes(name)) delete headers[name];
      const again = await page.context().request.post(last.url(), { form: fields, headers, maxRedirects: 0 });
      assert.ok(again.status() >= 400 && again.status() < 500, `it was answered with ${again.status()}`);
      assert.ok((await again.text()).includes('find your session'));
      await page.goto(framed.origin);
      await waitForStatus(page, 'signed out');
      assert.deepEqual(await getTokenSilently(page), LOGIN_REQUIRED);
    });

    test('a log-in that another browser began cannot be finished here', async (t) => {
      const begun = await pressLogIn(await newPerson(browser, t), framed);
      await waitForLoginPage(begun);
      const page = await (await newPerson(browser, t)).newPage();
      const response = await page.goto(begun.url());
      assert.ok(response.status() >= 400 && response.status() < 500);
      assert.match(await errorPage(page, curfew), /couldn.t find your session/);
      assert.equal(await page.locator('input[name=password]').count(), 0);
    });
  });
});

// What people and applications notice of a server that was killed and started again: nothing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as openid from 'openid-client';
import { newPerson, openBrowser, waitForLoginPage } from '../lib/browser.mjs';
import { codeFlow, discover } from '../lib/code-flow.mjs';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createApi, createSpaClient, createUser } from '../lib/setup.mjs';
import { blank, openSite } from '../lib/site.mjs';

onEachEngine('kill -9 and a new start', (engine) => {
  let curfew;
  let browser;
  let site;
  before(async () => {
    curfew = await startCurfew(engine);
    browser = await openBrowser();
    site = await openSite('app.localhost', blank);
  });
  after(async () => {
    await browser?.close();
    await site?.close();
    await curfew?.stop();
  });

  test('sessions, refresh tokens, a half-done log-in and keys live on; what was ended stays ended', async (t) => {
    const redirect_uri = `${site.origin}/callback`;
    const api = await createApi(curfew);
    const configuration = await discover(curfew, await createSpaClient(curfew, site.origin));
    openid.enableNonRepudiationChecks(configuration);
    const parameters = { redirect_uri, audience: api.identifier, scope: 'openid offline_access' };
    const [stays, goes] = [await createUser(curfew), await createUser(curfew)];
    const [staying, going] = [await newPerson(browser, t), await newPerson(browser, t)];
    const first = await codeFlow(configuration, staying, { ...parameters, user: stays });
    const last = await codeFlow(configuration, going, { ...parameters, user: goes });
    const rotated = await openid.refreshTokenGrant(configuration, first.tokens.refresh_token);
    const halfDone = await (await newPerson(browser, t)).newPage();
    await halfDone.goto(openid.buildAuthorizationUrl(configuration, { redirect_uri, scope: 'openid', state: 'half-done', code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()), code_challenge_method: 'S256' }).href);
    await waitForLoginPage(halfDone);
    await curfew.management.users.update(goes.user_id, { blocked: true });

    await curfew.crash();

    const silent = await codeFlow(configuration, staying, { ...parameters, prompt: 'none' });
    assert.equal(silent.tokens.claims().sid, first.tokens.claims().sid);
    const again = await openid.refreshTokenGrant(configuration, rotated.refresh_token);
    assert.equal(again.claims().sub, stays.user_id);
    await assert.rejects(openid.refreshTokenGrant(configuration, last.tokens.refresh_token), { error_description: 'user is blocked' });
    await assert.rejects(codeFlow(configuration, going, { ...parameters, prompt: 'none' }), { error: 'login_required' });
    await halfDone.getByLabel('Email address').fill(stays.email);
    await halfDone.getByLabel('Password', { exact: true }).fill(stays.password);
    await halfDone.locator('button[type=submit]').click();
    await halfDone.waitForURL(`${redirect_uri}?*`);
    assert.equal(new URL(halfDone.url()).searchParams.get('state'), 'half-done');
    assert.ok(new URL(halfDone.url()).searchParams.get('code'));
  });
});

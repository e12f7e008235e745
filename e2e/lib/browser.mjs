// Chromium, and what a person does in it.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { publicKeyHash } from './certificates.mjs';

const TIMEOUT_MS = 15_000;

/** Debian's Chromium with a profile of its own, which trusts this run's certificate and no other. */
export function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CURFEW_E2E_CHROMIUM ?? '/usr/bin/chromium',
    chromiumSandbox: process.getuid() !== 0,
    args: [
      `--ignore-certificate-errors-spki-list=${publicKeyHash()}`,
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** One person's browser: nothing in it, and no page waits for ever. It is closed with the test. */
export async function newPerson(browser, t, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(TIMEOUT_MS);
  t.after(() => context.close());
  return context;
}

/** Waits until the application's status line reads `text`. */
export async function waitForStatus(page, text) {
  const status = page.getByRole('status');
  try {
    await status.filter({ hasText: text }).waitFor();
  } catch {
    // The difference says more than a time-out.
    assert.equal((await status.allTextContents()).join() || `no status at ${page.url()}`, text);
  }
}

/** Does `action` and waits for the next page to arrive in the tab, whatever its address. */
export async function nextPage(page, action) {
  const arrived = page.waitForEvent('framenavigated', (frame) => frame === page.mainFrame());
  await action();
  await arrived;
}

const email = (page) => page.getByLabel('Email address');
const password = (page) => page.getByLabel('Password', { exact: true });
const submit = (page) => page.locator('button[type=submit]');

/** Waits for the login page, with its two fields under their labels. */
export async function waitForLoginPage(page) {
  await email(page).waitFor();
  assert.equal(await email(page).getAttribute('name'), 'username');
  assert.equal(await password(page).getAttribute('name'), 'password');
}

/** Fills in the login page and sends it. */
export async function giveCredentials(page, user) {
  await waitForLoginPage(page);
  await email(page).fill(user.email);
  await password(page).fill(user.password);
  await submit(page).click();
}

/** Moves the focus with the Tab key until `locator` has it. */
export async function tabTo(page, locator) {
  for (let presses = 0; presses < 20; presses += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail('the keyboard does not reach the field');
}

/** The same as `giveCredentials` without a mouse. */
export async function giveCredentialsByKeyboard(page, user) {
  await waitForLoginPage(page);
  await tabTo(page, email(page));
  await page.keyboard.type(user.email);
  await tabTo(page, password(page));
  await page.keyboard.type(user.password);
  await page.keyboard.press('Enter');
}

/** Fills in the sign-up page and sends it. */
export async function signUp(page, user) {
  await page.locator('input[name=email]').fill(user.email);
  await page.locator('input[name=password]').fill(user.password);
  await submit(page).click();
}

/** Presses Accept or Decline where Curfew asks. */
export const answer = (page, action) => page.locator(`button[name=action][value=${action}]`).click();

/** What Curfew's own error page says, after making sure that this is where the page is. */
export async function errorPage(page, { issuer }) {
  await page.locator('h1').waitFor();
  assert.ok(page.url().startsWith(issuer), `${page.url()} is not a page of Curfew`);
  return page.locator('body').innerText();
}

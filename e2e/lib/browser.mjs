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
  await status.filter({ hasText: /./ }).waitFor();
  assert.equal(await status.textContent(), text);
}

const identifierField = (page) => page.locator('input[name=username]');
const passwordField = (page) => page.locator('input[name=password]');
const submit = (page) => page.locator('button[type=submit]').first();

/** Waits for the login page, and shows that its fields carry their labels. */
export async function waitForLoginPage(page) {
  await identifierField(page).waitFor();
  assert.equal(await page.getByLabel('Email address').getAttribute('name'), 'username');
}

/** Fills in the login page and sends it; identifier and password may share a page or not. */
export async function giveCredentials(page, { email, password }) {
  await waitForLoginPage(page);
  await identifierField(page).fill(email);
  if (!(await passwordField(page).isVisible())) {
    await submit(page).click();
    await passwordField(page).waitFor();
  }
  await page.getByLabel('Password', { exact: true }).fill(password);
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
export async function giveCredentialsByKeyboard(page, { email, password }) {
  await waitForLoginPage(page);
  await tabTo(page, identifierField(page));
  await page.keyboard.type(email);
  if (!(await passwordField(page).isVisible())) {
    await page.keyboard.press('Enter');
    await passwordField(page).waitFor();
  }
  await tabTo(page, passwordField(page));
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
}

/** What Curfew's own error page says, after making sure that this is where the page is. */
export async function errorPage(page, { issuer }) {
  await page.locator('h1').waitFor();
  assert.ok(page.url().startsWith(issuer), `${page.url()} is not a page of Curfew`);
  return page.locator('body').innerText();
}

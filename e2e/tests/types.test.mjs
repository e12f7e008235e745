// What `curfew actions types` prints, before TypeScript: it describes the events there are, it suits Actions as people have
// them, and it finds mistakes.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';
import { findCurfew } from '../lib/curfew.mjs';

const here = import.meta.dirname;
const triggers = {
  'post-login': 'PostLogin',
  'credentials-exchange': 'CredentialsExchange',
  'pre-user-registration': 'PreUserRegistration',
  'post-user-registration': 'PostUserRegistration',
  'post-change-password': 'PostChangePassword',
};

const actions = (...args) => execFileSync(findCurfew(), ['actions', ...args], { encoding: 'utf8', env: {} });
const article = (name) => readFileSync(join(here, '../fixtures', name), 'utf8');

/** A folder with these files and the types, where packages are found as they are here. */
function project(t, files, ...types) {
  const folder = mkdtempSync(join(tmpdir(), 'curfew-types-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(here, '../node_modules'), join(folder, 'node_modules'));
  const all = { 'curfew-actions.d.ts': actions('types', ...types), ...files };
  for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
  return Object.keys(all).map((name) => join(folder, name));
}

/** The events of real flows, which stand beside the test of the server that makes them. */
const flows = join(here, '../../crates/curfew/tests/it/action_events');

/** What `tsc --checkJs` finds: `file:line code`. */
function check(paths, options) {
  const program = ts.createProgram(paths, {
    noEmit: true,
    allowJs: true,
    checkJs: true,
    skipLibCheck: true,
    types: [],
    lib: ['lib.es2023.d.ts'],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10,
    ...options,
  });
  return ts.getPreEmitDiagnostics(program).map(({ file, start, code, messageText }) => ({
    place: file === undefined ? '' : `${file.fileName.split('/').pop()}:${file.getLineAndCharacterOfPosition(start).line + 1}`,
    code,
    text: ts.flattenDiagnosticMessageText(messageText, '\n'),
  }));
}

test('the declarations are sound, and describe the events that are printed and those of the flows', (t) => {
  const files = Object.fromEntries(Object.entries(triggers).map(([trigger, name]) => [
    `${trigger}.ts`,
    // What is written out is held to be exactly of its type: nothing may be missing, and nothing more.
    `import type { ${name}Event } from './curfew-actions';
export const event: Omit<${name}Event, 'secrets' | 'configuration'> = ${actions('event', '--trigger', trigger)};`,
  ]));
  for (const file of readdirSync(flows)) {
    const name = triggers[file.replace('.json', '')] ?? triggers['post-login'];
    files[`flow-${file}.ts`] = `import type { ${name}Event } from './curfew-actions';
export const event: Omit<${name}Event, 'secrets' | 'configuration'> = ${readFileSync(join(flows, file), 'utf8')};`;
  }
  assert.deepEqual(check(project(t, files), { strict: true, skipLibCheck: false, noUnusedLocals: true }), []);
});

test('the declarations of one trigger are sound, with and without those of a browser', (t) => {
  for (const trigger of Object.keys(triggers)) {
    const paths = project(t, {}, '--trigger', trigger);
    assert.deepEqual(check(paths, { strict: true, skipLibCheck: false }), [], trigger);
  }
  const uses = '/** @param {Event} event */\nexports.onExecutePostLogin = async (event) => event.user.email;\n';
  const paths = project(t, { 'uses.js': uses }, '--trigger', 'post-login');
  assert.deepEqual(check(paths, { strict: true, lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'] }), []);
});

test("the articles' Actions are of these types", (t) => {
  // The one names its types as Auth0's templates do, the other has to be told.
  const lastActive = article('last-active.js');
  const types = '/** @type {(event: Event, api: PostLoginAPI) => Promise<void>} */\n';
  const paths = project(t, {
    'single-session.js': article('single-session.js'),
    'last-active.js': types + lastActive,
  }, '--trigger', 'post-login');
  // A difference of dates is no mistake in JavaScript. There is nothing else to say of either.
  const difference = lastActive.split('\n').findIndex((line) => line.includes('(now - lastActive)')) + 2;
  const found = check(paths);
  assert.deepEqual(found.map(({ place, code }) => `${place} ${code}`), [
    `last-active.js:${difference} 2362`,
    `last-active.js:${difference} 2363`,
  ], JSON.stringify(found));
});

test('mistakes are found', (t) => {
  const action = `/**
 * @param {import('./curfew-actions').PostLoginEvent} event
 * @param {import('./curfew-actions').PostLoginAPI} api
 */
exports.onExecutePostLogin = async (event, api) => {
  if (event.session.id === event.user.user_id) return;
  api.acces.deny('x');
  api.access.deny(1);
  api.session.setCookieMode('for ever');
  api.session.setExpiresAt(new Date());
  api.user.setAppMetadata('a');
  event.user.app_metadata.anything.at.all.is.allowed;
  event.transaction?.protocol === 'oauth2-refresh-token' && event.user.email?.endsWith('@example.com');
  event.client.client_secret;
};
`;
  const found = check(project(t, { 'action.js': action }), { strict: true }).map(({ place, code }) => `${place} ${code}`);
  assert.deepEqual(found, [
    'action.js:6 18048', // session may be absent
    'action.js:7 2551', // did you mean access?
    'action.js:8 2345',
    'action.js:9 2345',
    'action.js:10 2345',
    'action.js:11 2554',
    'action.js:14 2339',
  ]);
});

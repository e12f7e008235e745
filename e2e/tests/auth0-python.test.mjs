// auth0-python: its own tests, in Python, against a Curfew of their own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';

onEachEngine('auth0-python', (engine) => {
  let curfew;
  before(async () => { curfew = await startCurfew(engine); });
  after(() => curfew?.stop());

  test('its suite passes', async () => {
    const python = spawn(process.env.CURFEW_E2E_PYTHON, ['-B', '-m', 'unittest', '-v', 'test_auth0_python'], {
      cwd: join(import.meta.dirname, '../python'),
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        CURFEW_DOMAIN: curfew.domain,
        CURFEW_CLIENT_ID: curfew.bootstrap.clientId,
        CURFEW_CLIENT_SECRET: curfew.bootstrap.clientSecret,
      },
    });
    const [code] = await once(python, 'exit');
    assert.equal(code, 0);
  });
});

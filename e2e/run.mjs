// Runs the suites: `npm test`, or `npm test -- tests/spa.test.mjs` for one of them; options go to
// Node's test runner.
//
// Makes a certificate authority that lives as long as the run, and starts the test runner with
// it in place: Node reads its additional authorities only once, when a process starts.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from './lib/certificates.mjs';
import { findCurfew } from './lib/curfew.mjs';

const here = import.meta.dirname;

/** The environment of the Python partner, made anew when its pinned packages change. */
function preparePython() {
  const wanted = readFileSync(join(here, 'python/requirements.txt'), 'utf8');
  const venv = join(here, '.venv');
  const installed = join(venv, 'requirements.txt');
  const python = join(venv, 'bin/python');
  try {
    if (readFileSync(installed, 'utf8') === wanted) return python;
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const run = (command, args) => {
    const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
    if (error) throw error;
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
  };
  run('python3', ['-m', 'venv', '--clear', venv]);
  run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', join(here, 'python/requirements.txt')]);
  writeFileSync(installed, wanted);
  return python;
}

const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const files = asked.length > 0
  ? asked
  : readdirSync(join(here, 'tests')).filter((name) => name.endsWith('.test.mjs')).map((name) => join(here, 'tests', name));

// Found once, so that all suites test the same build.
const curfew = findCurfew();
const python = process.env.CURFEW_E2E_PYTHON ?? preparePython();
const scratch = mkdtempSync(join(tmpdir(), 'curfew-e2e-'));
const certificates = makeCertificates(scratch);
const child = spawn(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=300000', '--test-reporter=spec', ...options, ...files],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      CURFEW_BIN: curfew,
      CURFEW_E2E_SCRATCH: scratch,
      CURFEW_E2E_PYTHON: python,
      NODE_EXTRA_CA_CERTS: certificates.authority,
      // The same for Python's two HTTP clients.
      SSL_CERT_FILE: certificates.authority,
      REQUESTS_CA_BUNDLE: certificates.authority,
    },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => {
  rmSync(scratch, { recursive: true, force: true });
  process.exitCode = code ?? 1;
});

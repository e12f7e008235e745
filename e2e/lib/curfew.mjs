// Starts and stops the server under test, as an operator would: the binary and its environment.

import { spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ManagementClient } from 'auth0';
import { openBalancer } from './balancer.mjs';
import { certificates } from './certificates.mjs';
import { makeDatabase } from './engines.mjs';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;

/** The M2M client made at the first start; it holds every scope of the Management API. */
const bootstrap = {
  clientId: 'e2eBootstrapClient00000000000000',
  clientSecret: 'e2e-bootstrap-secret-which-is-known-to-the-tests-and-to-nobody-else',
};

/** The server under test: CURFEW_BIN, or whichever of the release and the debug build is newer. */
export function findCurfew() {
  if (process.env.CURFEW_BIN) return process.env.CURFEW_BIN;
  const target = process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, '../../target');
  const built = ['release', 'debug']
    .map((profile) => join(target, profile, 'curfew'))
    .map((path) => ({ path, stat: statSync(path, { throwIfNoEntry: false }) }))
    .filter(({ stat }) => stat)
    .sort((a, b) => b.stat.mtimeMs - a.stat.mtimeMs);
  if (built.length === 0) throw new Error(`no curfew in ${target}: build it, or set CURFEW_BIN`);
  return built[0].path;
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** What an operator would put into the environment. */
function configuration(port, issuer) {
  const { authority, certificate, key } = certificates();
  return {
    CURFEW_LISTEN: `127.0.0.1:${port}`,
    CURFEW_ISSUER: issuer,
    CURFEW_TLS_CERT: certificate,
    CURFEW_TLS_KEY: key,
    // The applications that are told of endings are on this machine, with certificates of the run's own authority.
    CURFEW_EGRESS_ALLOW: '127.0.0.0/8',
    CURFEW_EGRESS_CA: authority,
    // However busy the machine is: no suite is about these limits.
    CURFEW_ACTIONS_TIME_MS: '60000',
    CURFEW_ACTIONS_CPU_MS: '60000',
    CURFEW_BOOTSTRAP_CLIENT_ID: bootstrap.clientId,
    CURFEW_BOOTSTRAP_CLIENT_SECRET: bootstrap.clientSecret,
    CURFEW_BOOTSTRAP_ADMIN_EMAIL: 'admin@example.com',
    CURFEW_BOOTSTRAP_ADMIN_PASSWORD: 'An-Administrator-of-the-e2e-suite-1',
  };
}

/** Starts the process and waits for its first line, which says `issuer`. */
async function launch(environment, issuer) {
  const { PATH, HOME, CURFEW_LOG, RUST_BACKTRACE } = process.env;
  const all = { PATH, HOME, CURFEW_LOG, RUST_BACKTRACE, ...environment };
  const server = spawn(findCurfew(), [], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
  });
  const exited = once(server, 'exit');
  const told = [];
  createInterface(server.stderr).on('line', (line) => told.push(line));
  const output = createInterface(server.stdout);
  const lines = on(output, 'line', { close: ['close'] });

  const slow = setTimeout(() => server.kill('SIGKILL'), START_TIMEOUT_MS);
  const first = (await lines.next()).value?.[0];
  clearTimeout(slow);
  if (first !== `listening on ${issuer}`) {
    server.kill('SIGKILL');
    await exited;
    throw new Error(`curfew did not start, its first line is ${JSON.stringify(first)}:\n${told.join('\n')}`);
  }

  /** Asks the server to end, and fails unless it does so in time and in order. */
  async function terminate() {
    const late = setTimeout(() => server.kill('SIGKILL'), STOP_TIMEOUT_MS);
    if (server.exitCode === null) server.kill('SIGTERM');
    const [code, signal] = await exited;
    clearTimeout(late);
    if (process.env.CURFEW_E2E_LOG) console.error(told.join('\n'));
    if (code !== 0) throw new Error(`curfew ended with ${code ?? signal}:\n${told.slice(-50).join('\n')}`);
  }
  async function kill() {
    server.kill('SIGKILL');
    await exited;
  }
  return { lines, terminate, kill };
}

/**
 * A running Curfew with an empty database on `engine`, served over https as `localhost`.
 *
 * `issuer` ends in a slash, `domain` is what Auth0's SDKs call so, `management` is a client of the
 * Management API that may do everything. `stop` ends the server and takes its data with it, `crash`
 * kills it and starts it again over the data that is there; in between, `meanwhile` runs.
 */
export async function startCurfew(engine) {
  const port = await freePort();
  const { nodes: [node], ...curfew } = await startNodes(engine, port, [port]);
  return { ...curfew, crash: node.crash };
}

/** The same of two nodes over one database; `nodes` are those, to be crashed one by one. Both answer at `issuer`. */
export async function startTwoNodes() {
  const [port, ...ports] = [await freePort(), await freePort(), await freePort()];
  const { nodes, ...curfew } = await startNodes('postgresql', port, ports);
  const balancer = await openBalancer(port, ports);
  return {
    ...curfew,
    nodes: nodes.map(({ crash }, at) => ({
      async crash(meanwhile) {
        balancer.leave(ports[at]);
        await crash(meanwhile);
        balancer.join(ports[at]);
      },
    })),
    async stop() {
      balancer.close();
      await curfew.stop();
    },
  };
}

/** A Curfew of as many nodes as there are `ports`, whose issuer is at `port`. */
async function startNodes(engine, port, ports) {
  const domain = `localhost:${port}`;
  const issuer = `https://${domain}/`;
  const data = mkdtempSync(join(process.env.CURFEW_E2E_SCRATCH, 'data-'));
  const database = makeDatabase(engine);
  const start = (at) => launch({ ...configuration(at, issuer), CURFEW_DATA_DIR: data, CURFEW_DATABASE_URL: database.url }, issuer);
  const tidy = () => {
    rmSync(data, { recursive: true, force: true });
    database.drop();
  };
  const running = [];
  try {
    // One after the other: the first makes the tables, and the key in the data folder.
    for (const at of ports) running.push(await start(at));
  } catch (error) {
    await Promise.all(running.map(({ kill }) => kill()));
    tidy();
    throw error;
  }
  return {
    issuer,
    domain,
    bootstrap,
    management: new ManagementClient({ domain, ...bootstrap }),
    nodes: ports.map((at, index) => ({
      async crash(meanwhile = async () => {}) {
        await running[index].kill();
        try {
          await meanwhile();
        } finally {
          running[index] = await start(at);
        }
      },
    })),
    async stop() {
      const ended = await Promise.allSettled(running.map(({ terminate }) => terminate()));
      tidy();
      const failed = ended.find(({ status }) => status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}

/** A Curfew without any configuration but an address, as a stranger starts it: the link it prints. */
export async function startUnconfigured() {
  const port = await freePort();
  const issuer = `http://localhost:${port}/`;
  const data = mkdtempSync(join(process.env.CURFEW_E2E_SCRATCH, 'data-'));
  const running = await launch({ CURFEW_LISTEN: `127.0.0.1:${port}`, CURFEW_DATA_DIR: data }, issuer);
  let link;
  for await (const [line] of running.lines) {
    link = line.match(/https?:\S+/)?.[0];
    if (link) break;
  }
  return { issuer, link, stop: () => running.terminate().finally(() => rmSync(data, { recursive: true, force: true })) };
}

// Each suite runs on both storage engines.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe } from 'node:test';

const postgres = process.env.CURFEW_TEST_POSTGRES_URL;

/** Declares `suite` once per engine; it is handed the engine for `startCurfew`. */
export function onEachEngine(title, suite) {
  describe(`${title}, on SQLite`, () => suite('sqlite'));
  onPostgres(title, () => suite('postgresql'));
}

/** Declares `suite` for PostgreSQL alone: several nodes need a database that all of them reach. */
export function onPostgres(title, suite) {
  const skip = postgres ? false : 'CURFEW_TEST_POSTGRES_URL is not set';
  describe(`${title}, on PostgreSQL`, { skip }, suite);
}

/** A fresh database for one server: its URL (none for SQLite) and the way to get rid of it. */
export function makeDatabase(engine) {
  if (engine === 'sqlite') return { url: undefined, drop() {} };
  const name = `curfew_e2e_${randomBytes(6).toString('hex')}`;
  const psql = (statement) => execFileSync('psql', [postgres, '--quiet', '--no-psqlrc', '-v', 'ON_ERROR_STOP=1', '-c', statement]);
  psql(`CREATE DATABASE ${name}`);
  const url = new URL(postgres);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => psql(`DROP DATABASE ${name} WITH (FORCE)`) };
}

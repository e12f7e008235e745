// The guard for Node, as the bench asks it: one command a line on standard input, one answer a line on standard output.
// Instants are nanoseconds of this process's monotonic clock; `clock` asks for one, so that the bench can compare it with its own.

import { createInterface } from 'node:readline';
import { createGuard } from '../clients/js/guard/src/index.js';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => (await lines.next()).value;
const say = (line) => process.stdout.write(`${line}\n`);

const guard = createGuard(JSON.parse(await next()));
await guard.ready();
say('ready');
let token = '';
for (let line = await next(); line !== undefined; line = await next()) {
  const [command, ...rest] = line.split(' ');
  if (command === 'clock') {
    say(`clock ${process.hrtime.bigint()}`);
  } else if (command === 'before') {
    [token] = rest;
    say((await guard.check(token)).ok ? 'accepted' : 'refused');
  } else {
    while ((await guard.check(token)).ok) await new Promise(setImmediate);
    say(`refused ${process.hrtime.bigint()}`);
  }
}
guard.close();

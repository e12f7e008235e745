// What stands before several nodes: each connection goes to the next one that is there.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Listens at `port` and hands connections on to `ports` in turn; `leave` and `join` say which of them are there. */
export async function openBalancer(port, ports) {
  const there = new Set(ports);
  let turn = 0;
  const server = createServer((client) => {
    const chosen = [...there][turn % there.size];
    turn += 1;
    if (chosen === undefined) return client.destroy();
    const node = connect(chosen, '127.0.0.1');
    client.pipe(node).pipe(client);
    for (const [one, other] of [[client, node], [node, client]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    return undefined;
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    leave: (gone) => there.delete(gone),
    join: (back) => there.add(back),
    close: () => server.close(),
  };
}

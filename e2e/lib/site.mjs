// Small https sites: the applications that trust Curfew.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { certificates } from './certificates.mjs';

/**
 * A site at `https://HOST:PORT`. `answer` is a request handler, or an Express application; as an
 * application often has to know its own address first, it may be set later (`site.answer`).
 *
 * The host `localhost` is the same site as Curfew's, whose cookies are then first-party in a frame;
 * `app.localhost` is another site, where they are third-party and the browser withholds them.
 */
export async function openSite(host, answer) {
  const { certificate, key } = certificates();
  const site = { answer };
  const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => site.answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  site.origin = `https://${host}:${server.address().port}`;
  site.close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return site;
}

/** A handler that greets at every path: where a callback may land when only its URL matters. */
export const blank = (_request, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>arrived</title>');

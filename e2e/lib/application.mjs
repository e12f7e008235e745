// An application at which people sign in, for suites about their sessions.

import assert from 'node:assert/strict';
import { newPerson, openBrowser } from './browser.mjs';
import { codeFlow, discover } from './code-flow.mjs';
import { startCurfew } from './curfew.mjs';
import { createWebClient } from './setup.mjs';
import { blank, openSite } from './site.mjs';

/** Curfew, a browser, and a site with its client. `close` ends them; what was begun is ended also when the rest fails. */
export async function openApplication(engine) {
  const ends = [];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const curfew = await startCurfew(engine);
    ends.push(() => curfew.stop());
    const browser = await openBrowser();
    ends.push(() => browser.close());
    const site = await openSite('app.localhost', blank);
    ends.push(() => site.close());
    const client = await createWebClient(curfew, site.origin);
    const configuration = await discover(curfew, client);
    return { curfew, management: curfew.management, browser, client, configuration, redirect_uri: `${site.origin}/callback`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** How people sign in at `application`, each time with these parameters. */
export function signingIn({ browser, configuration, redirect_uri }, parameters) {
  const flow = (person, more) => codeFlow(configuration, person, { redirect_uri, ...parameters, ...more });
  return {
    /** `user` in a browser of their own: the browser, the tokens, and the id of the session. */
    async signIn(t, user) {
      const person = await newPerson(browser, t);
      const { tokens } = await flow(person, { user });
      return { person, tokens, sid: tokens.claims().sid };
    },

    /** Whether the session still answers silently. */
    silent: ({ person }) => flow(person, { prompt: 'none' }).then(() => true, (error) => {
      assert.equal(error.error, 'login_required');
      return false;
    }),
  };
}

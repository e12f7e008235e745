// Handlers of the web's own shape: a Request in, a Response out.

import { render } from './answers.js';
import { bearerToken } from './bearer.js';

/** `handler` behind the guard; what follows the request (an environment, a context) is handed on. */
export function fetchHandler(decide, handler) {
  return async function curfewGuard(request, ...rest) {
    const answer = await decide.token(bearerToken(request.headers.get('authorization')));
    if (!answer.ok) {
      const { headers, body } = render(answer);
      return new Response(body, { status: answer.status, headers });
    }
    // A Request has no place for it of its own.
    Object.defineProperty(request, 'auth', { value: answer.auth, configurable: true, enumerable: true, writable: true });
    return handler(request, ...rest);
  };
}

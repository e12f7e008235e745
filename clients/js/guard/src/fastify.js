// Fastify.

import { render } from './answers.js';
import { bearerToken } from './bearer.js';

/** A hook for `onRequest` or `preHandler`, for an instance or for one route. */
export function fastifyHook(decide) {
  return async function curfewGuard(request, reply) {
    const answer = await decide.token(bearerToken(request.headers.authorization));
    if (answer.ok) {
      request.auth = answer.auth;
      return undefined;
    }
    const { headers, body } = render(answer);
    return reply.code(answer.status).headers(headers).send(body ?? undefined);
  };
}

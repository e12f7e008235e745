// Express, and whatever else has its middlewares.

import { render } from './answers.js';
import { bearerToken, isVerified } from './bearer.js';

/**
 * A middleware that answers refusals itself. Where `request.auth` is there already, another middleware has
 * verified the signature; everything else is checked here.
 */
export function expressMiddleware(decide) {
  return function curfewGuard(request, response, next) {
    const decision = isVerified(request.auth)
      ? decide.verified(request.auth)
      : decide.token(bearerToken(request.headers.authorization));
    decision.then((answer) => {
      if (!answer.ok) return refuse(response, answer);
      request.auth = answer.auth;
      return next();
    }, next);
  };
}

function refuse(response, answer) {
  const { headers, body } = render(answer);
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(body ?? undefined);
}

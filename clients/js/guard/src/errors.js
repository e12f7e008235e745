// Why the guard could not do something. None of this reaches those who call the API: they get one of the
// answers in answers.js.

/**
 * The server could not be asked, or what it said makes no sense. `code` is for machines, the message for the
 * operator; neither ever holds a token or a secret.
 */
export class GuardError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'GuardError';
    this.code = code;
  }
}

/** The server spoke, and not as docs/guards.md says. */
export const protocolError = (message) => new GuardError('protocol', message);

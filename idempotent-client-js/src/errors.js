/**
 * A call that cannot be made: as it was written, or because of what is kept of its action. Nothing
 * was sent because of it.
 *
 * What goes wrong on the way (a lost connection, a time-out, an abort) is not one of these: it is
 * rejected with just what `fetch` rejects with.
 */
export class IdempotencyError extends Error {
  /**
   * @param {import('./index.js').IdempotencyErrorCode} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'IdempotencyError';
    /** What is wrong, for programs. */
    this.code = code;
  }
}

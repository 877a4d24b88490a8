/**
 * What an answer means for the key: the one decision on which it depends that nothing is done
 * twice. No I/O and no clock in here.
 *
 * A key may be given up only when the outcome is certain for EVERY request that was ever sent with
 * it. A refusal such as 401, 400 or 413 is made before the server looks up the key's record, so it
 * says that this attempt did nothing; of an earlier one that was lost it says nothing. A replay is
 * the record itself, and speaks for all of them.
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {string | null | undefined} code the `code` of a problem document; `null` when there
 *   is one whose code could not be read
 * @property {boolean} replayed whether it came with `Idempotency-Replayed: true`
 * @property {boolean} redirected whether it is the answer to another request, that a redirect led to
 *
 * @typedef {object} Verdict
 * @property {'give-up' | 'keep' | 'retry'} then what to do; `retry` keeps the key too
 * @property {import('./index.js').OutcomeReason} reason
 * @property {boolean} uncertain whether, after this answer, a request with this key may have had
 *   an effect that the client does not know of
 */

/** Not done, or not yet, or not known: to be sent again with the same key. */
const TRY_AGAIN = new Set([408, 425, 502, 503, 504]);

/**
 * @param {Answer} answer
 * @param {boolean} uncertainBefore whether an earlier attempt with this key was left uncertain
 * @returns {Verdict}
 */
export function classify(answer, uncertainBefore) {
  const { status, code, replayed, redirected } = answer;
  // A replay is the record of this key, wherever it came from.
  if (redirected && !replayed) return keep('redirected');
  if (status >= 200 && status < 300) return giveUp('done');
  if (status === 409 || status === 422) {
    // Before `replayed`: a gateway recorded what another server told it.
    if (code === null) return keep('unreadable');
    if (code === 'outcome-unknown' || code === 'key-reused') return keep(code);
  }
  if (status === 409 && code === 'response-not-kept') return giveUp('done');
  if (status === 409 && code === 'in-flight') {
    return replayed ? keep('in-flight') : retry('in-flight', true);
  }
  if (replayed) return status < 500 ? giveUp('refused') : keep('recorded-failure');
  // Other servers send it without a code for what is in flight.
  if (status === 409) return keep('conflict');
  if (status === 429) return retry('try-again', uncertainBefore);
  if (TRY_AGAIN.has(status)) return retry('try-again', true);
  if (status >= 500) return keep('failure');
  if (status >= 400) return uncertainBefore ? keep('refused-but-uncertain') : giveUp('refused');
  return keep('no-outcome');
}

/** @param {import('./index.js').OutcomeReason} reason @returns {Verdict} */
function giveUp(reason) {
  return { then: 'give-up', reason, uncertain: false };
}

/** @param {import('./index.js').OutcomeReason} reason @returns {Verdict} */
function keep(reason) {
  return { then: 'keep', reason, uncertain: true };
}

/**
 * @param {import('./index.js').OutcomeReason} reason
 * @param {boolean} uncertain
 * @returns {Verdict}
 */
function retry(reason, uncertain) {
  return { then: 'retry', reason, uncertain };
}

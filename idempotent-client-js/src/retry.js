/**
 * What a `Retry-After` header asks for (RFC 9110 §10.2.3).
 *
 * @param {string | null | undefined} value whole seconds, or an HTTP-date
 * @param {number} now the time, in milliseconds since 1970
 * @returns {number | undefined} milliseconds from now, never negative; `undefined` if there is no
 *   such header, or nothing that can be understood
 */
export function retryAfter(value, now) {
  const text = value?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // All three forms of an HTTP-date begin with the day's name. `Date.parse` alone would also
  // read "-5" or "1.5" as a year.
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * How long to wait before the next attempt: exponential backoff with full jitter, or what the
 * server asked for and a little more, so that clients who were refused together do not come back
 * together.
 *
 * @param {{
 *   attempt: number,
 *   asked?: number,
 *   baseDelay: number,
 *   maxDelay: number,
 *   random: () => number,
 * }} parameters `attempt`: how many were made; `asked`: milliseconds by `Retry-After`
 * @returns {number} milliseconds
 */
export function delayBefore({ attempt, asked, baseDelay, maxDelay, random }) {
  if (asked) return asked + random() * Math.min(baseDelay, maxDelay);
  return random() * Math.min(maxDelay, baseDelay * 2 ** (attempt - 1));
}

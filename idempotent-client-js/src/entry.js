/**
 * What is stored of an action while its outcome is not certain.
 *
 * @typedef {object} Entry
 * @property {string} key
 * @property {number} created when the key was made, in milliseconds since 1970
 * @property {boolean} uncertain whether a request with this key may have had an effect that the
 *   client does not know of
 * @property {number} [finished] when the outcome became certain; there only while another tab is
 *   waiting for it
 */

const FORMAT = 1;

/**
 * @param {Entry} entry
 * @returns {string}
 */
export function encode(entry) {
  return JSON.stringify({ format: FORMAT, ...entry });
}

/**
 * @param {unknown} text what was stored
 * @returns {Entry | undefined} `undefined` if it is nothing that `encode` wrote
 */
export function decode(text) {
  if (typeof text !== 'string') return undefined;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { format, key, created, uncertain, finished } = value ?? {};
  const sound =
    format === FORMAT &&
    typeof key === 'string' &&
    /^[ -~]{1,600}$/.test(key) &&
    Number.isFinite(created) &&
    typeof uncertain === 'boolean' &&
    (finished === undefined || Number.isFinite(finished));
  return sound ? { key, created, uncertain, ...(finished === undefined ? {} : { finished }) } : undefined;
}

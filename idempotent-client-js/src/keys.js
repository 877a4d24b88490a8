import { IdempotencyError } from './errors.js';

/**
 * A new key: a random UUID (version 4).
 *
 * `crypto.randomUUID` is missing on pages that were not loaded over HTTPS; `getRandomValues` is
 * there too.
 *
 * @returns {string}
 */
export function newKey() {
  const { crypto } = globalThis;
  if (typeof crypto?.randomUUID === 'function') return crypto.randomUUID();
  if (typeof crypto?.getRandomValues !== 'function') {
    throw new IdempotencyError(
      'no-randomness',
      'there is no crypto.getRandomValues to make a key with: send an Idempotency-Key header of your own',
    );
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // variant of RFC 9562
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [8, 12, 16, 20, 32]
    .map((end, part) => hex.slice([0, 8, 12, 16, 20][part], end))
    .join('-');
}

/**
 * A key that the caller chose, checked by the server's rule: a wrong one would only be found out
 * after a round trip.
 *
 * @param {string} key
 * @returns {string}
 */
export function checkedKey(key) {
  const bare = /^[!#-~][!-~]{0,254}$/;
  const quoted = /^"(?:[ !#-[\]-~]|\\["\\])+"(?:\s*;.*)?$/;
  if (bare.test(key) || quoted.test(key)) return key;
  throw new IdempotencyError(
    'key-invalid',
    'the Idempotency-Key header must be 1 to 255 visible ASCII characters',
  );
}

import { IdempotencyError } from './errors.js';
import { checkedKey } from './keys.js';

/**
 * A request that can be sent more than once, and told from another one.
 *
 * @typedef {object} Repeatable
 * @property {string} href the URL in full: the page's own address, to which a relative one belongs,
 *   may change between attempts
 * @property {string} method
 * @property {Headers} headers
 * @property {BodyInit | null | undefined} body a copy that nobody else can change
 * @property {RequestInit} init the rest of what the caller gave
 * @property {string | undefined} key the caller's own
 */

/**
 * Checks a request as `fetch` would, and a little more, before anything is sent.
 *
 * @param {string | URL} url
 * @param {RequestInit} init
 * @returns {Repeatable}
 */
export function repeatable(url, init) {
  if (typeof url !== 'string' && !(url instanceof URL)) {
    throw new IdempotencyError(
      'request-invalid',
      /** @type {unknown} */ (url) instanceof Request
        ? 'the URL must be a string or a URL: the body of a Request can be sent only once'
        : 'the URL must be a string or a URL, after the name of the action: (action, url, init)',
    );
  }
  const { headers, body, signal: _, ...rest } = init;
  const copy = copyOf(body);
  // What is wrong with a request is found out here, so that whatever `fetch` rejects with later
  // is a failure on the way and may be tried again.
  const checked = new Request(url, { ...rest, headers, body: copy });
  if (checked.method === 'GET' || checked.method === 'HEAD') {
    throw new IdempotencyError(
      'method-safe',
      `${checked.method} changes nothing and needs no key: was \`method: "POST"\` forgotten? If not, use fetch`,
    );
  }
  if (rest.mode === 'no-cors') {
    throw new IdempotencyError(
      'request-invalid',
      'with mode "no-cors" a browser leaves the Idempotency-Key header out',
    );
  }
  const key = new Headers(headers).get('Idempotency-Key');
  return {
    href: checked.url,
    method: checked.method,
    headers: new Headers(headers),
    body: copy,
    init: rest,
    key: key === null ? undefined : checkedKey(key),
  };
}

/**
 * Whether two requests ask for the same: what the server compares too, so headers do not count.
 *
 * @param {Repeatable} one
 * @param {Repeatable} other
 * @returns {Promise<string | undefined>} what is different
 */
export async function difference(one, other) {
  if (one.method !== other.method) return 'method';
  if (one.href !== other.href) return 'URL';
  if (other.key !== undefined && one.key !== other.key) return 'Idempotency-Key';
  return (await sameBody(one.body, other.body)) ? undefined : 'body';
}

/**
 * @param {any} body
 * @returns {any} a copy, so that what the caller changes later does not get into a later attempt
 */
export function copyOf(body) {
  if (body === null || body === undefined || typeof body === 'string') return body;
  if (typeof body.getReader === 'function' || Symbol.asyncIterator in Object(body) || typeof body.pipe === 'function') {
    throw new IdempotencyError(
      'body-not-repeatable',
      'a stream can be sent only once, and a lost request must be sent again: read it into a string, a Blob or an ArrayBuffer first',
    );
  }
  if (body instanceof Blob) return body;
  if (body instanceof URLSearchParams) return new URLSearchParams(body);
  if (body instanceof FormData) {
    const copy = new FormData();
    for (const [name, value] of body) copy.append(name, value);
    return copy;
  }
  if (ArrayBuffer.isView(body)) return bytesOf(body).slice();
  if (isBuffer(body)) return bytesOf(body).slice();
  return String(body);
}

/**
 * @param {any} one
 * @param {any} other
 * @returns {Promise<boolean>}
 */
export async function sameBody(one, other) {
  if (one === other) return true;
  if (one instanceof URLSearchParams && other instanceof URLSearchParams) {
    return one.toString() === other.toString();
  }
  if (one instanceof FormData && other instanceof FormData) {
    const [fields, others] = [[...one], [...other]];
    if (fields.length !== others.length) return false;
    for (const [at, [name, value]] of fields.entries()) {
      if (name !== others[at][0] || !(await sameBody(value, others[at][1]))) return false;
    }
    return true;
  }
  if (one instanceof Blob && other instanceof Blob) {
    if (one.size !== other.size || one.type !== other.type) return false;
    if (one instanceof File && other instanceof File && one.name !== other.name) return false;
    return sameBytes(await one.arrayBuffer(), await other.arrayBuffer());
  }
  return isBytes(one) && isBytes(other) && sameBytes(one, other);
}

/** @param {any} one @param {any} other */
function sameBytes(one, other) {
  const [left, right] = [bytesOf(one), bytesOf(other)];
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** @param {any} value @returns {value is ArrayBuffer} */
function isBuffer(value) {
  return /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(value));
}

/** @param {any} value */
function isBytes(value) {
  return ArrayBuffer.isView(value) || isBuffer(value);
}

/** @param {any} value @returns {Uint8Array} */
function bytesOf(value) {
  return ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
}

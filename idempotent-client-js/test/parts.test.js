import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { decode, encode } from '../src/entry.js';
import { checkedKey, newKey } from '../src/keys.js';
import { delayBefore, retryAfter } from '../src/retry.js';
import { sleep, timer, unlessAborted } from '../src/time.js';

const { crypto } = globalThis;
const setCrypto = (value) =>
  Object.defineProperty(globalThis, 'crypto', { value, configurable: true, writable: true });
afterEach(() => setCrypto(crypto));

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('keys are random UUIDs', () => {
  assert.match(newKey(), UUID_V4);
  assert.notEqual(newKey(), newKey());
});

test('keys are random UUIDs on a page that was not loaded over HTTPS', () => {
  setCrypto({ getRandomValues: (bytes) => crypto.getRandomValues(bytes) });
  const keys = Array.from({ length: 200 }, newKey);
  for (const key of keys) assert.match(key, UUID_V4);
  assert.equal(new Set(keys).size, 200);
  setCrypto({ getRandomValues: (bytes) => bytes.map((_, at) => at * 17) });
  assert.equal(newKey(), '00112233-4455-4677-8899-aabbccddeeff');
});

test('without any randomness there is no key', () => {
  setCrypto(undefined);
  assert.throws(newKey, { code: 'no-randomness' });
});

test("a caller's key is checked by the server's rule", () => {
  for (const key of ['a', 'order-1', 'x'.repeat(255), '"with space"', '"a\\"b"', '"a"; p=1']) {
    assert.equal(checkedKey(key), key);
  }
  for (const key of ['', 'two words', 'x'.repeat(256), '"open', 'é', 'a\tb', '""', '"a"b']) {
    assert.throws(() => checkedKey(key), { code: 'key-invalid' }, key);
  }
});

test('Retry-After is whole seconds or an HTTP-date', () => {
  const now = Date.UTC(2026, 0, 1, 12);
  assert.equal(retryAfter('0', now), 0);
  assert.equal(retryAfter(' 7 ', now), 7000);
  assert.equal(retryAfter('Thu, 01 Jan 2026 12:00:30 GMT', now), 30_000);
  assert.equal(retryAfter('Thursday, 01-Jan-26 12:00:30 GMT', now), 30_000);
  assert.equal(retryAfter('Thu, 01 Jan 2026 11:00:00 GMT', now), 0);
  for (const value of [null, undefined, '', '-5', '1.5', 'soon', '2027-01-01', 'Thu, someday']) {
    assert.equal(retryAfter(value, now), undefined, String(value));
  }
});

test('backoff is exponential with full jitter, up to a limit', () => {
  const delay = (attempt, random, asked) =>
    delayBefore({ attempt, asked, baseDelay: 100, maxDelay: 1000, random: () => random });
  assert.deepEqual([1, 2, 3, 4, 5, 60].map((n) => delay(n, 1)), [100, 200, 400, 800, 1000, 1000]);
  assert.equal(delay(3, 0), 0);
  assert.equal(delay(3, 0.5), 200);
  assert.equal(delay(1, 0, 7000), 7000);
  assert.equal(delay(9, 0.5, 7000), 7050);
  assert.equal(delay(2, 0.5, 0), 100);
});

test('an entry is read back as it was written, and nothing else is', () => {
  const entry = { key: 'k', created: 1, uncertain: true };
  assert.deepEqual(decode(encode(entry)), entry);
  assert.deepEqual(decode(encode({ ...entry, finished: 2 })), { ...entry, finished: 2 });
  const foreign = [
    undefined, null, 7, '', 'nonsense', 'null', '[]', '"k"', '{"format":1}',
    JSON.stringify({ format: 2, ...entry }),
    JSON.stringify({ format: 1, ...entry, key: '' }),
    JSON.stringify({ format: 1, ...entry, key: 'a\nb' }),
    JSON.stringify({ format: 1, ...entry, created: 'x' }),
    JSON.stringify({ format: 1, ...entry, uncertain: 1 }),
    JSON.stringify({ format: 1, ...entry, finished: 'x' }),
  ];
  for (const text of foreign) assert.equal(decode(text), undefined, String(text));
});

test('a wait leaves no listener on the signal, however it ends', async () => {
  const { signal, listeners } = counted(new AbortController().signal);
  await unlessAborted(Promise.resolve(1), signal);
  await assert.rejects(unlessAborted(Promise.reject(new Error('x')), signal), /x/);
  await sleep(0, signal);
  assert.equal(listeners(), 0);
});

test('an abort ends a wait with its reason', async () => {
  const controller = new AbortController();
  const waiting = sleep(1e9, controller.signal);
  controller.abort('enough');
  await assert.rejects(waiting, (reason) => reason === 'enough');
  await assert.rejects(sleep(1e9, controller.signal), (reason) => reason === 'enough');
});

test('a time longer than timers know does not end at once', async () => {
  let ended = false;
  timer(2 ** 40, () => (ended = true));
  timer(Infinity, () => (ended = true));
  await sleep(5, new AbortController().signal);
  assert.equal(ended, false);
});

/** A signal whose listeners are counted. */
function counted(signal) {
  let count = 0;
  for (const [name, by] of [['addEventListener', 1], ['removeEventListener', -1]]) {
    const original = signal[name].bind(signal);
    signal[name] = (...args) => {
      count += by;
      return original(...args);
    };
  }
  return { signal, listeners: () => count };
}

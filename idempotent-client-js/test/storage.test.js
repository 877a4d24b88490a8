import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { forget, idempotentFetch, pending } from '../src/index.js';
import { observed, PAY } from './support/options.js';
import { lose, serve } from './support/server.js';

const originals = ['sessionStorage', 'localStorage'].map((name) => [
  name,
  Object.getOwnPropertyDescriptor(globalThis, name),
]);
afterEach(() => {
  for (const [name, descriptor] of originals) {
    delete globalThis[name];
    if (descriptor) Object.defineProperty(globalThis, name, descriptor);
  }
});

/** What a browser's storage does. */
function webStorage(entries = new Map()) {
  return {
    entries,
    getItem: (name) => entries.get(name) ?? null,
    setItem: (name, value) => void entries.set(name, value),
    removeItem: (name) => void entries.delete(name),
    key: (at) => [...entries.keys()][at] ?? null,
    get length() {
      return entries.size;
    },
  };
}

function define(name, property) {
  Object.defineProperty(globalThis, name, { configurable: true, ...property });
}

for (const [storage, name] of [['session', 'sessionStorage'], ['local', 'localStorage']]) {
  test(`"${storage}" keeps the key in ${name}`, async (t) => {
    const value = webStorage();
    define(name, { value });
    const server = await serve(t, [{ status: 500 }, {}]);
    const seen = observed({ storage });
    await idempotentFetch('pay', server.url, PAY, seen.options);
    const [[where, text]] = value.entries;
    assert.equal(where, 'idempotent-client:pay');
    assert.equal(JSON.parse(text).key, server.keys()[0]);
    await idempotentFetch('pay', server.url, PAY, seen.options);
    assert.equal(new Set(server.keys()).size, 1);
    assert.equal(value.entries.size, 0);
    assert.equal(seen.told('storage-unavailable').length, 0);
  });
}

test('sessionStorage is the default', async (t) => {
  const value = webStorage();
  define('sessionStorage', { value });
  const server = await serve(t, [{ status: 500 }]);
  await idempotentFetch('by-default', server.url, PAY);
  assert.equal(value.entries.size, 1);
});

const blocked = {
  'where reading the property throws': {
    get() {
      throw new DOMException('denied', 'SecurityError');
    },
  },
  'where there is none': { value: undefined },
  'where nothing may be written': {
    value: {
      ...webStorage(),
      setItem() {
        throw new DOMException('full', 'QuotaExceededError');
      },
    },
  },
};
for (const [at, [where, property]] of Object.entries(blocked).entries()) {
  test(`the key is kept in memory ${where}, and the hook is told`, async (t) => {
    define('sessionStorage', property);
    const server = await serve(t, [lose, {}, {}]);
    const seen = observed({ storage: 'session', maxAttempts: 1 });
    const pay = () => idempotentFetch(`blocked-${at}`, server.url, PAY, seen.options);
    await assert.rejects(pay());
    assert.equal(seen.told('storage-unavailable').length, 1);
    assert.ok(seen.told('storage-unavailable')[0].error instanceof Error);
    await pay();
    await pay();
    const [first, second, third] = server.keys();
    assert.equal(second, first);
    assert.notEqual(third, first);
    assert.equal(await pending(`blocked-${at}`, seen.options), undefined);
  });
}

test('a key that a store does not delete is not used again in this page', async (t) => {
  const entries = new Map();
  const storage = {
    get: (name) => entries.get(name),
    set: (name, value) => entries.set(name, value),
    delete: () => Promise.reject(new Error('read only')),
  };
  const server = await serve(t, [{}]);
  const seen = observed({ storage });
  await idempotentFetch('pay', server.url, PAY, seen.options);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 2);
  assert.equal(seen.told('storage-unavailable')[0].during, 'delete');
});

test("a key that a caller's own store could not read for a moment is not replaced", async (t) => {
  const server = await serve(t, [lose, { headers: { 'Idempotency-Replayed': 'true' } }]);
  const entries = new Map();
  let failing = false;
  const failure = new Error('locked');
  const storage = {
    get: (name) => (failing ? Promise.reject(failure) : entries.get(name)),
    set: (name, value) => entries.set(name, value),
    delete: (name) => entries.delete(name),
  };
  const seen = observed({ storage, maxAttempts: 1 });
  const pay = () => idempotentFetch('pay', server.url, PAY, seen.options);
  await assert.rejects(pay());
  failing = true;
  const refused = { name: 'IdempotencyError', code: 'storage-failed', cause: failure };
  await assert.rejects(pay(), refused);
  await assert.rejects(pending('pay', seen.options), refused);
  assert.equal(server.requests.length, 1);
  assert.equal(seen.told('storage-unavailable')[0].during, 'get');
  failing = false;
  assert.equal((await pay()).idempotency.replayed, true);
  assert.equal(new Set(server.keys()).size, 1);
});

test('a store that cannot be read after the answer keeps the key, and says so', async (t) => {
  const entries = new Map();
  let failing = false;
  const storage = {
    get: (name) => (failing ? Promise.reject(new Error('locked')) : entries.get(name)),
    set: (name, value) => entries.set(name, value),
    delete: (name) => entries.delete(name),
  };
  const server = await serve(t, [
    (_, response) => {
      failing = true;
      response.writeHead(201).end();
    },
    {},
  ]);
  const seen = observed({ storage });
  const pay = () => idempotentFetch('pay', server.url, PAY, seen.options);
  const { idempotency } = await pay();
  assert.deepEqual([idempotency.reason, idempotency.keyKept], ['done', true]);
  assert.equal(seen.told('kept')[0].reason, 'done');
  failing = false;
  await pay();
  assert.equal(new Set(server.keys()).size, 1);
});

test('a store may be asynchronous', async (t) => {
  const entries = new Map();
  const later = (value) => new Promise((resolve) => setImmediate(resolve, value));
  const storage = {
    get: (name) => later().then(() => entries.get(name)),
    set: (name, value) => later().then(() => entries.set(name, value)),
    delete: (name) => later().then(() => entries.delete(name)),
  };
  const server = await serve(t, [lose, {}, {}]);
  const seen = observed({ storage });
  await Promise.all([1, 2].map(() => idempotentFetch('pay', server.url, PAY, seen.options)));
  assert.equal(new Set(server.keys()).size, 1);
  assert.equal(entries.size, 0);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 2);
});

test('a store that does not answer is ended by the time-out, and nothing is sent', async (t) => {
  const server = await serve(t, [{}]);
  const never = () => new Promise(() => {});
  const seen = observed({ storage: { get: never, set: never, delete: never }, timeout: 30 });
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options), { name: 'TimeoutError' });
  assert.equal(server.requests.length, 0);
});

test('an answer is told even if the store does not answer any more', async (t) => {
  const server = await serve(t, [{}]);
  const entries = new Map();
  const storage = {
    get: (name) => entries.get(name),
    set: (name, value) => entries.set(name, value),
    delete: () => new Promise(() => {}),
  };
  const seen = observed({ storage, timeout: 1000 });
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(response.status, 201);
});

test('forget tells of a store that fails', async () => {
  define('sessionStorage', { value: undefined });
  const seen = observed({ storage: 'session' });
  await forget('nothing', seen.options);
  assert.deepEqual(seen.events.map(({ type }) => type), ['storage-unavailable', 'given-up']);
});

for (const storage of ['session', 'local']) {
  test(`what is left of actions that are not called again is removed from "${storage}"`, async (t) => {
    const HOUR = 3_600_000;
    const YEAR = 366 * 24 * HOUR;
    const server = await serve(t, [{}]);
    const seen = observed({ storage });
    // The stores of a browser are looked through once an hour, by the tests' clock as well.
    seen.advance(storage === 'session' ? YEAR : 2 * YEAR);
    const now = seen.options.now();
    const left = (age, rest) =>
      JSON.stringify({ format: 1, key: 'left', created: now - age, uncertain: false, ...rest });
    const kept = {
      'idempotent-client:clean': left(22 * HOUR),
      'idempotent-client:uncertain': left(24 * HOUR, { uncertain: true }),
      'idempotent-client:damaged': '{}',
      other: left(24 * HOUR),
    };
    const value = webStorage(
      new Map([
        ['idempotent-client:old', left(24 * HOUR)],
        ...Object.entries(kept),
        ['idempotent-client:finished', left(24 * HOUR, { finished: now - 24 * HOUR })],
        ['idempotent-client:ancient', left(YEAR, { uncertain: true })],
      ]),
    );
    define(storage === 'session' ? 'sessionStorage' : 'localStorage', { value });
    await idempotentFetch('pay', server.url, PAY, seen.options);
    for (let turn = 0; turn < 1000 && value.entries.size > 4; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual(Object.fromEntries(value.entries), kept);
  });
}

test('what is left in memory is removed too', async (t) => {
  const server = await serve(t, [{ status: 500 }, { status: 429 }, {}, {}]);
  const seen = observed({ storage: 'memory', maxAttempts: 1 });
  const pay = (action) => idempotentFetch(action, server.url, PAY, seen.options);
  const key = async (action) => (await pending(action, { ...seen.options, ttl: Infinity }))?.key;
  await pay('left-uncertain');
  await pay('left-clean');
  assert.ok(await key('left-clean'));
  seen.advance(24 * 3_600_000);
  await pay('pay');
  for (let turn = 0; turn < 1000 && (await key('left-clean')); turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await key('left-clean'), undefined);
  assert.equal(await key('left-uncertain'), server.keys()[0]);
});

import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { observed, PAY } from './support/options.js';
import { gate, lose, serve } from './support/server.js';

/** Web Locks as far as the client uses them; Node 20 has none. */
class Locks {
  queue = [];

  request(name, { signal }, work) {
    return new Promise((resolve, reject) => {
      const lock = { name, work, resolve, reject };
      signal?.addEventListener('abort', () => {
        const at = this.queue.indexOf(lock);
        if (at < 0 || lock.held) return;
        this.queue.splice(at, 1);
        reject(signal.reason);
      });
      this.queue.push(lock);
      this.next();
    });
  }

  next() {
    for (const lock of this.queue) {
      if (lock.held || this.queue.some((other) => other.held && other.name === lock.name)) continue;
      lock.held = true;
      Promise.resolve()
        .then(() => lock.work(lock))
        .then(lock.resolve, lock.reject)
        .finally(() => {
          this.queue.splice(this.queue.indexOf(lock), 1);
          this.next();
        });
    }
  }

  async query() {
    const names = (held) => this.queue.filter((lock) => !!lock.held === held).map(({ name }) => ({ name }));
    return { held: names(true), pending: names(false) };
  }
}

const descriptor = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
const setLocks = (locks) =>
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
const folders = [];
let tabs;
before(async () => {
  // Each import is a page of its own: nothing is shared but the store and the locks.
  tabs = await Promise.all([1, 2].map((tab) => load(tab)));
});
beforeEach(() => setLocks(new Locks()));
after(() => {
  delete globalThis.navigator;
  if (descriptor) Object.defineProperty(globalThis, 'navigator', descriptor);
  return Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
});

/** Modules of its own, from a copy of the files. */
async function load(tab) {
  const folder = await mkdtemp(join(tmpdir(), `tab-${tab}-`));
  folders.push(folder);
  await cp(new URL('../src', import.meta.url), folder, { recursive: true });
  await cp(new URL('../package.json', import.meta.url), join(folder, 'package.json'));
  return import(pathToFileURL(join(folder, 'index.js')).href);
}

test('two tabs that do the same at once do it once', async (t) => {
  const { held, open } = gate({ body: 'paid' });
  const replay = { headers: { 'Idempotency-Replayed': 'true' }, body: 'paid' };
  const server = await serve(t, [held, replay, {}]);
  const seen = observed();
  const first = tabs[0].idempotentFetch('pay', server.url, PAY, seen.options);
  await server.seen(1);
  const waits = Promise.withResolvers?.() ?? deferred();
  const second = tabs[1].idempotentFetch('pay', server.url, PAY, {
    ...seen.options,
    onEvent: (event) => event.type === 'waiting' && waits.resolve(),
  });
  await waits.promise;
  assert.equal(server.requests.length, 1);
  open();
  assert.equal((await first).idempotency.replayed, false);
  assert.equal((await second).idempotency.replayed, true);
  assert.equal(new Set(server.keys()).size, 1);
  // Nothing is left, and the next one is a new operation.
  assert.equal(seen.entries.size, 0);
  seen.advance(1);
  await tabs[1].idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 2);
});

test('what ended before a call began is not joined, even if it was left for a tab that is gone', async (t) => {
  const server = await serve(t, [{}]);
  const seen = observed();
  const now = seen.options.now();
  const left = { format: 1, key: 'old', created: now - 10, uncertain: false, finished: now - 5 };
  seen.entries.set('idempotent-client:pay', JSON.stringify(left));
  assert.equal(await tabs[0].pending('pay', seen.options), undefined);
  await tabs[0].idempotentFetch('pay', server.url, PAY, seen.options);
  assert.notEqual(server.keys()[0], 'old');
  assert.equal(seen.entries.size, 0);
});

test('a wait for another tab is ended by an abort, and counts as time', async (t) => {
  const { held, open } = gate({});
  const server = await serve(t, [held]);
  const seen = observed();
  const first = tabs[0].idempotentFetch('pay', server.url, PAY, seen.options);
  await server.seen(1);
  const controller = new AbortController();
  const aborted = tabs[1].idempotentFetch('pay', server.url, PAY, {
    ...seen.options,
    signal: controller.signal,
    onEvent: (event) => event.type === 'waiting' && controller.abort(),
  });
  await assert.rejects(aborted, { name: 'AbortError' });
  await assert.rejects(
    tabs[1].idempotentFetch('pay', server.url, PAY, { ...seen.options, timeout: 30 }),
    { name: 'TimeoutError' },
  );
  open();
  await first;
  assert.equal(server.requests.length, 1);
});

test('a tab that ends uncertain leaves its key to the next', async (t) => {
  const { held, open } = gate(lose);
  const server = await serve(t, [held, {}]);
  const seen = observed({ maxAttempts: 1 });
  const first = tabs[0].idempotentFetch('pay', server.url, PAY, seen.options);
  await server.seen(1);
  const second = tabs[1].idempotentFetch('pay', server.url, PAY, seen.options);
  open();
  await assert.rejects(first);
  await second;
  assert.equal(new Set(server.keys()).size, 1);
});

test('it goes on without locks where they are kept from the page', async (t) => {
  const refused = async () => {
    throw new DOMException('denied', 'SecurityError');
  };
  const thrown = () => {
    throw new TypeError('not here');
  };
  const kept = [refused, thrown].map((request) => ({ request, query: refused }));
  for (const locks of [undefined, ...kept]) {
    setLocks(locks);
    const server = await serve(t, [lose, {}]);
    const seen = observed();
    assert.equal((await tabs[0].idempotentFetch('pay', server.url, PAY, seen.options)).status, 201);
  }
});

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

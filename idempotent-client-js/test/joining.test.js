import assert from 'node:assert/strict';
import { test } from 'node:test';

import { idempotentFetch } from '../src/index.js';
import { observed, PAY } from './support/options.js';
import { gate, hang, lose, serve } from './support/server.js';

test('a double click is one request, and each caller has a response of its own', async (t) => {
  const server = await serve(t, [{ body: '{"id":1}' }]);
  const seen = observed();
  const calls = [1, 2, 3].map(() => idempotentFetch('pay', server.url, PAY, seen.options));
  const responses = await Promise.all(calls);
  assert.equal(server.requests.length, 1);
  assert.equal(new Set(responses).size, 3);
  for (const response of responses) {
    assert.deepEqual(await response.json(), { id: 1 });
    assert.equal(response.idempotency.key, server.keys()[0]);
    assert.equal(response.url, `${server.url}/`);
  }
  assert.equal(seen.told('joined').length, 2);
});

test('calls join whatever the store, and not across stores', async (t) => {
  const server = await serve(t, [{}]);
  const pay = (storage) => idempotentFetch('pay', server.url, PAY, { storage });
  await Promise.all([pay('memory'), pay('memory'), pay(new Map())]);
  assert.equal(server.requests.length, 2);
});

test('a call after the end is a new operation', async (t) => {
  const server = await serve(t, [{}]);
  const seen = observed();
  await idempotentFetch('pay', server.url, PAY, seen.options);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 2);
});

test('a large body reaches callers who read it one after the other', async (t) => {
  const body = 'x'.repeat(3 << 20);
  const server = await serve(t, [{ body }]);
  const seen = observed();
  const calls = [1, 2].map(() => idempotentFetch('pay', server.url, PAY, seen.options));
  for (const response of await Promise.all(calls)) {
    assert.equal((await response.text()).length, body.length);
  }
});

for (const [what, url, init] of [
  ['body', '', { ...PAY, body: '{"amount":999}' }],
  ['URL', '/other', PAY],
  ['method', '', { ...PAY, method: 'PUT' }],
  ['Idempotency-Key', '', { ...PAY, headers: { 'Idempotency-Key': 'another' } }],
]) {
  test(`a call with another ${what} does not get this one's response`, async (t) => {
    const { held, open } = gate({ body: 'paid' });
    const server = await serve(t, [held]);
    const seen = observed();
    const first = idempotentFetch('pay', server.url, PAY, seen.options);
    await assert.rejects(idempotentFetch('pay', server.url + url, init, seen.options), (error) => {
      assert.equal(error.code, 'different-request');
      assert.match(error.message, new RegExp(what));
      return true;
    });
    open();
    assert.equal(await (await first).text(), 'paid');
    assert.equal(server.requests.length, 1);
  });
}

test('bodies are compared by what they hold', async (t) => {
  const form = (text) => {
    const data = new FormData();
    data.append('file', new File([text], 'a.txt'));
    return data;
  };
  const kinds = [
    (text) => new TextEncoder().encode(text),
    (text) => new TextEncoder().encode(text).buffer,
    (text) => new Blob([text]),
    (text) => new URLSearchParams({ text }),
    form,
  ];
  for (const kind of kinds) {
    const { held, open } = gate({});
    const server = await serve(t, [held]);
    const seen = observed();
    const pay = (text) =>
      idempotentFetch('pay', server.url, { method: 'POST', body: kind(text) }, seen.options);
    const calls = [pay('one'), pay('one')];
    await assert.rejects(pay('two'), { code: 'different-request' });
    open();
    await Promise.all(calls);
    assert.equal(server.requests.length, 1);
  }
});

test('one caller who goes away takes the answer from nobody', async (t) => {
  const { held, open } = gate({ body: 'paid' });
  const server = await serve(t, [held]);
  const seen = observed();
  for (const leaving of [0, 1]) {
    const controller = new AbortController();
    const calls = [0, 1].map((caller) =>
      idempotentFetch(`pay-${leaving}`, server.url,
        { ...PAY, ...(caller === leaving && { signal: controller.signal }) }, seen.options));
    await server.seen(leaving + 1);
    controller.abort();
    await assert.rejects(calls[leaving], { name: 'AbortError' });
    open();
    assert.equal(await (await calls[1 - leaving]).text(), 'paid');
  }
  assert.equal(server.requests.length, 2);
});

test('when the last has gone the request is given up, and the key kept', async (t) => {
  let closed;
  const gone = new Promise((resolve) => (closed = resolve));
  const server = await serve(t, [(request) => request.socket.on('close', closed), {}]);
  const seen = observed();
  const controllers = [new AbortController(), new AbortController()];
  const calls = controllers.map(({ signal }) =>
    idempotentFetch('pay', server.url, { ...PAY, signal }, seen.options));
  await server.seen(1);
  controllers[1].abort(new Error('second'));
  await assert.rejects(calls[1], /second/);
  controllers[0].abort(new Error('first'));
  await assert.rejects(calls[0], /first/);
  await gone;
  assert.equal(seen.stored().uncertain, true);
  // A call right after it does not join what was given up.
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 1);
});

test('a call right after an abort is one of its own, with the same key', async (t) => {
  const server = await serve(t, [hang, { status: 500 }]);
  const slow = new Map();
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const storage = {
    get: (name) => turn().then(() => slow.get(name)),
    set: (name, value) => turn().then(() => slow.set(name, value)),
    delete: (name) => turn().then(() => slow.delete(name)),
  };
  const seen = observed({ storage });
  const controller = new AbortController();
  const first = idempotentFetch('pay', server.url, { ...PAY, signal: controller.signal }, seen.options);
  await server.seen(1);
  controller.abort();
  const second = idempotentFetch('pay', server.url, PAY, seen.options);
  await assert.rejects(first, { name: 'AbortError' });
  assert.equal((await second).status, 500);
  assert.equal(new Set(server.keys()).size, 1);
});

const REPLAY = { headers: { 'Idempotency-Replayed': 'true' } };

for (const waits of [0, 1]) {
  test(`who aborts while the key is being given up keeps it, if ${waits} others wait`, async (t) => {
    const server = await serve(t, [{}, REPLAY]);
    const entries = new Map();
    let deleting;
    const asked = new Promise((resolve) => (deleting = resolve));
    let finish;
    const finished = new Promise((resolve) => (finish = resolve));
    const storage = {
      get: async (name) => entries.get(name),
      set: async (name, value) => entries.set(name, value),
      async delete(name) {
        deleting();
        await finished;
        entries.delete(name);
      },
    };
    const seen = observed({ storage });
    const controller = new AbortController();
    const init = { ...PAY, signal: controller.signal };
    const aborted = idempotentFetch('pay', server.url, init, seen.options);
    const others = waits ? [idempotentFetch('pay', server.url, PAY, seen.options)] : [];
    await asked;
    controller.abort();
    await assert.rejects(aborted, { name: 'AbortError' });
    // At once, before the store is done. Who goes away as well does not let the next one overtake.
    if (!waits) {
      const second = idempotentFetch('pay', server.url, init, seen.options);
      await assert.rejects(second, { name: 'AbortError' });
      const leaving = new AbortController();
      const third = idempotentFetch('pay', server.url, { ...PAY, signal: leaving.signal }, seen.options);
      leaving.abort();
      await assert.rejects(third, { name: 'AbortError' });
      for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    const next = waits ? others[0] : idempotentFetch('pay', server.url, PAY, seen.options);
    finish();
    assert.equal((await next).idempotency.replayed, waits === 0);
    assert.equal(new Set(server.keys()).size, 1);
    assert.equal(seen.told('kept').length, 1 - waits);
    assert.equal(entries.size, 0);
  });
}

test('who aborts while the answer is being told of keeps the key', async (t) => {
  const server = await serve(t, [{}, REPLAY]);
  for (const [at, type] of ['response', 'given-up'].entries()) {
    const controller = new AbortController();
    const seen = observed();
    const onEvent = (event) => {
      if (event.type === type) controller.abort();
      seen.options.onEvent(event);
    };
    const init = { ...PAY, signal: controller.signal };
    const call = idempotentFetch('pay', server.url, init, { ...seen.options, onEvent });
    if (type === 'given-up') {
      // Too late: the outcome is told.
      assert.equal((await call).idempotency.keyKept, false);
      assert.equal(seen.entries.size, 0);
      continue;
    }
    await assert.rejects(call, { name: 'AbortError' });
    await idempotentFetch('pay', server.url, PAY, seen.options);
    assert.equal(server.keys()[2 * at + 1], server.keys()[2 * at]);
  }
});

test('all who wait are told of a failure', async (t) => {
  const server = await serve(t, [lose]);
  const seen = observed({ maxAttempts: 2 });
  const calls = [1, 2].map(() => idempotentFetch('pay', server.url, PAY, seen.options));
  for (const call of await Promise.allSettled(calls)) assert.equal(call.reason.name, 'TypeError');
  assert.equal(server.requests.length, 2);
});

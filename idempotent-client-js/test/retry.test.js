import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createClient, idempotentFetch, pending } from '../src/index.js';
import { observed, PAY } from './support/options.js';
import { hang, lose, problem, serve } from './support/server.js';

test('a lost response is sent for again with the same key', async (t) => {
  const server = await serve(t, [lose, { headers: { 'Idempotency-Replayed': 'true' }, body: '{"id":1}' }]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.ok(response instanceof Response);
  assert.equal(response.url, `${server.url}/`);
  assert.deepEqual(await response.json(), { id: 1 });
  assert.equal(new Set(server.keys()).size, 1);
  assert.deepEqual(server.requests.map(({ body }) => body), [PAY.body, PAY.body]);
  const { key, ...info } = response.idempotency;
  assert.equal(key, server.keys()[0]);
  assert.deepEqual(info, {
    action: 'pay', attempts: 2, replayed: true, code: undefined, keyKept: false, reason: 'done',
  });
  assert.deepEqual(seen.events.map(({ type }) => type), [
    'key', 'attempt', 'failed', 'retry', 'attempt', 'response', 'replayed', 'given-up',
  ]);
  assert.equal(seen.entries.size, 0);
});

test('a body that breaks off is a lost response', async (t) => {
  const cut = (_, response) => {
    response.writeHead(201, { 'Content-Length': 100 });
    response.write('half of it', () => response.destroy());
  };
  const server = await serve(t, [cut, { body: 'all of it' }]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(await response.text(), 'all of it');
  assert.equal(new Set(server.keys()).size, 1);
  assert.equal(server.requests.length, 2);
});

test('a run that is under way is asked after again, when the server says', async (t) => {
  const server = await serve(t, [problem(409, 'in-flight', { 'Retry-After': '3' }), {}]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(response.status, 201);
  assert.deepEqual(seen.delays, [3150]);
  assert.equal(new Set(server.keys()).size, 1);
});

for (const status of [408, 425, 429, 502, 503, 504]) {
  test(`${status} is tried again, when the server says`, async (t) => {
    const server = await serve(t, [{ status, headers: { 'Retry-After': '2' } }, {}]);
    const seen = observed();
    const response = await idempotentFetch('pay', server.url, PAY, seen.options);
    assert.equal(response.status, 201);
    assert.deepEqual(seen.delays, [2150]);
    assert.equal(new Set(server.keys()).size, 1);
  });
}

test('Retry-After may be a date', async (t) => {
  const seen = observed();
  const date = new Date(seen.options.now() + 9000).toUTCString();
  const server = await serve(t, [{ status: 503, headers: { 'Retry-After': date } }, {}]);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.deepEqual(seen.delays, [9150]);
});

test('a Retry-After beyond the time-out ends it at once', async (t) => {
  const server = await serve(t, [{ status: 429, headers: { 'Retry-After': '3600' }, body: 'later' }]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(response.status, 429);
  assert.equal(await response.text(), 'later');
  assert.deepEqual(seen.delays, []);
  assert.equal(server.requests.length, 1);
  assert.equal(response.idempotency.keyKept, true);
});

for (const [name, step] of Object.entries({
  400: { status: 400 },
  401: { status: 401 },
  422: problem(422, 'key-reused'),
  '409 outcome-unknown': problem(409, 'outcome-unknown'),
  '409 response-not-kept': problem(409, 'response-not-kept'),
  '409 of the application': { status: 409 },
  500: { status: 500 },
  'a recorded 503': { status: 503, headers: { 'Idempotency-Replayed': 'true', 'Retry-After': '1' } },
})) {
  test(`${name} is not tried again`, async (t) => {
    const server = await serve(t, [step]);
    const response = await idempotentFetch('pay', server.url, PAY, observed().options);
    assert.equal(response.status, step.status);
    assert.equal(server.requests.length, 1);
  });
}

test('attempts are limited, and the last answer is returned', async (t) => {
  const server = await serve(t, [{ status: 503, body: 'down' }]);
  const seen = observed({ maxAttempts: 3, baseDelay: 100 });
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(response.status, 503);
  assert.equal(await response.text(), 'down');
  assert.equal(server.requests.length, 3);
  assert.deepEqual(seen.delays, [50, 100]);
  assert.equal(response.idempotency.attempts, 3);
});

test("without any answer it rejects with fetch's own error", async (t) => {
  const server = await serve(t, [lose]);
  const seen = observed({ maxAttempts: 2 });
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options), TypeError);
  assert.equal(server.requests.length, 2);
  assert.equal(seen.stored().uncertain, true);
});

test('an attempt that takes too long is abandoned and made again', async (t) => {
  const server = await serve(t, [hang, {}]);
  const seen = observed({ attemptTimeout: 50 });
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(response.status, 201);
  assert.equal(seen.told('failed')[0].reason, 'timeout');
  assert.equal(new Set(server.keys()).size, 1);
});

test('a time-out ends all of it, and the key is kept', async (t) => {
  const server = await serve(t, [hang]);
  const seen = observed({ timeout: 50 });
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options), {
    name: 'TimeoutError',
  });
  assert.equal(seen.told('attempt').length, 1);
  assert.equal(seen.stored().key, seen.told('attempt')[0].key);
  assert.deepEqual(seen.told('kept').map(({ reason }) => reason), ['timeout']);
});

test('a time-out ends a fetch that does not heed signals', async () => {
  const seen = observed({ timeout: 30, fetch: () => new Promise(() => {}) });
  await assert.rejects(idempotentFetch('pay', 'http://pay.test', PAY, seen.options), {
    name: 'TimeoutError',
  });
});

for (const where of ['init', 'options']) {
  test(`a signal in ${where} aborts the request`, async (t) => {
    const server = await serve(t, [hang]);
    const seen = observed();
    const controller = new AbortController();
    const given = { signal: controller.signal };
    const call = idempotentFetch(
      'pay', server.url, { ...PAY, ...(where === 'init' && given) },
      { ...seen.options, ...(where === 'options' && given) },
    );
    await server.seen(1);
    const reason = new Error('the user left');
    controller.abort(reason);
    await assert.rejects(call, (error) => error === reason);
    assert.equal(seen.stored().uncertain, true);
    await assert.rejects(
      idempotentFetch('pay', server.url, { ...PAY, signal: controller.signal }, seen.options),
      (error) => error === reason,
    );
    assert.equal(server.requests.length, 1);
  });
}

test('an abort ends the wait between attempts', async (t) => {
  const server = await serve(t, [{ status: 503, headers: { 'Retry-After': '50' } }]);
  const controller = new AbortController();
  const seen = observed();
  const call = idempotentFetch('pay', server.url, PAY, {
    ...seen.options,
    sleep: undefined,
    now: undefined,
    signal: controller.signal,
    onEvent: (event) => event.type === 'retry' && controller.abort(),
  });
  await assert.rejects(call, { name: 'AbortError' });
});

test('a stream of events is handed on as it comes, and can be aborted', async (t) => {
  let closed;
  const gone = new Promise((resolve) => (closed = resolve));
  const stream = (_, response) => {
    response.on('close', closed);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: 1\n\n');
  };
  const server = await serve(t, [stream]);
  const controller = new AbortController();
  const init = { ...PAY, signal: controller.signal };
  const response = await idempotentFetch('pay', server.url, init, observed().options);
  const reader = response.body.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), 'data: 1\n\n');
  controller.abort();
  await assert.rejects(reader.read(), { name: 'AbortError' });
  await gone;
});

test('a body too large to be read ahead is whole', async (t) => {
  const body = 'x'.repeat(3 << 20);
  const server = await serve(t, [{ body }]);
  const response = await idempotentFetch('pay', server.url, PAY, observed().options);
  assert.equal((await response.text()).length, body.length);
});

test('a body that nobody will read does not hold its connection', async (t) => {
  let closed;
  const gone = new Promise((resolve) => (closed = resolve));
  const endless = (_, response) => {
    response.on('close', closed);
    response.writeHead(503, { 'Content-Type': 'text/event-stream' });
    response.write('data: 1\n\n');
  };
  const server = await serve(t, [endless, {}]);
  assert.equal((await idempotentFetch('pay', server.url, PAY, observed().options)).status, 201);
  await gone;
});

test('what goes wrong before the start leaves nothing behind', async (t) => {
  const server = await serve(t, [{}]);
  const seen = observed();
  const broken = () => {
    throw new Error('mistake');
  };
  await assert.rejects(idempotentFetch('pay', server.url, PAY, { ...seen.options, now: broken }), /mistake/);
  await assert.rejects(idempotentFetch('pay', server.url, { ...PAY, signal: {} }, seen.options), TypeError);
  assert.equal((await idempotentFetch('pay', server.url, PAY, seen.options)).status, 201);
});

test('a fetch may give the same response again', async () => {
  const response = new Response(null, { status: 204 });
  const { options } = observed({ fetch: async () => response });
  await idempotentFetch('pay', 'http://pay.test', PAY, options);
  assert.equal(await idempotentFetch('pay', 'http://pay.test', PAY, options), response);
});

test('a read-ahead body outlives an abort that comes too late', async (t) => {
  const server = await serve(t, [{ body: 'x'.repeat(500_000) }]);
  const controller = new AbortController();
  const init = { ...PAY, signal: controller.signal };
  const response = await idempotentFetch('pay', server.url, init, observed().options);
  controller.abort();
  assert.equal((await response.text()).length, 500_000);
});

test('every kind of body but a stream is sent again as it was', async (t) => {
  const form = () => {
    const data = new FormData();
    data.append('amount', '100');
    data.append('file', new File(['abc'], 'a.txt'));
    return data;
  };
  const bytes = new TextEncoder().encode('bytes');
  const bodies = {
    text: 'text', bytes, buffer: bytes.buffer.slice(0), blob: new Blob(['blob']),
    parameters: new URLSearchParams('a=1'), form: form(),
  };
  for (const [name, body] of Object.entries(bodies)) {
    const server = await serve(t, [lose, {}]);
    const call = idempotentFetch(name, server.url, { method: 'POST', body }, observed().options);
    // What the caller changes now must not get into the second attempt.
    if (name === 'bytes') bytes.fill(0);
    if (name === 'parameters') body.append('b', '2');
    if (name === 'form') body.append('b', '2');
    await call;
    const [first, second] = server.requests.map(({ body, headers }) => {
      const boundary = /boundary=(.*)/.exec(headers['content-type'])?.[1];
      return boundary ? body.replaceAll(boundary, '') : body;
    });
    assert.ok(first.length > 0);
    assert.equal(second, first, name);
  }
});

test('what cannot be sent again, or cannot carry a key, is refused before anything is sent', async (t) => {
  const server = await serve(t, [{}]);
  const seen = observed();
  const refused = (code, init, url = server.url, action = 'pay', options = {}) =>
    assert.rejects(idempotentFetch(action, url, init, { ...seen.options, ...options }), { code });
  await refused('body-not-repeatable', { method: 'POST', body: new Blob(['x']).stream(), duplex: 'half' });
  async function* parts() {
    yield 'x';
  }
  await refused('body-not-repeatable', { method: 'POST', body: parts(), duplex: 'half' });
  await refused('method-safe', {});
  await refused('method-safe', { method: 'head' });
  await refused('request-invalid', { ...PAY, mode: 'no-cors' });
  await refused('request-invalid', PAY, new Request(server.url, PAY));
  // As `fetch` is called.
  await assert.rejects(idempotentFetch(server.url, /** @type {any} */ (PAY)), /name of the action/);
  await refused('key-invalid', { ...PAY, headers: { 'Idempotency-Key': 'two words' } });
  await refused('action-invalid', PAY, server.url, '');
  await refused('action-invalid', PAY, server.url, 7);
  await refused('option-invalid', PAY, server.url, 'pay', { maxAttempts: 0 });
  await refused('option-invalid', PAY, server.url, 'pay', { timeout: -1 });
  await refused('option-invalid', PAY, server.url, 'pay', { timeout: '5s' });
  await refused('option-invalid', PAY, server.url, 'pay', { storage: 'cookies' });
  await refused('option-invalid', PAY, server.url, 'pay', { storage: {} });
  await refused('option-invalid', PAY, server.url, 'pay', { onEvent: 'log' });
  await assert.rejects(idempotentFetch('pay', 'http://[', PAY, seen.options), TypeError);
  assert.equal(server.requests.length, 0);
  assert.equal(seen.entries.size, 0);
});

test("a caller's key is used and stored", async (t) => {
  const server = await serve(t, [lose]);
  const seen = observed({ maxAttempts: 1 });
  const init = { ...PAY, headers: new Headers({ 'idempotency-key': 'order-1' }) };
  await assert.rejects(idempotentFetch('pay', server.url, init, seen.options));
  assert.equal(seen.stored().key, 'order-1');
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options));
  assert.deepEqual(server.keys(), ['order-1', 'order-1']);
  const other = { ...PAY, headers: { 'Idempotency-Key': 'order-2' } };
  await assert.rejects(idempotentFetch('pay', server.url, other, seen.options));
  assert.equal(seen.stored().key, 'order-2');
  assert.equal(seen.told('given-up')[0].reason, 'replaced');
});

test('options of a client hold for its calls, and a call may say otherwise', async (t) => {
  const server = await serve(t, [{ status: 503 }]);
  const seen = observed({ maxAttempts: 2 });
  const { fetch, pending, forget } = createClient(seen.options);
  await fetch('pay', server.url, PAY);
  assert.equal(server.requests.length, 2);
  await fetch('pay', server.url, PAY, { maxAttempts: 1 });
  assert.equal(server.requests.length, 3);
  assert.equal((await pending('pay')).key, server.keys()[0]);
  await forget('pay');
  assert.equal(await pending('pay'), undefined);
});

test("a mistake in the caller's event hook changes nothing", async (t) => {
  t.mock.method(console, 'error', () => {});
  const server = await serve(t, [lose, {}]);
  const onEvent = () => {
    throw new Error('mistake');
  };
  const response = await idempotentFetch('pay', server.url, PAY, observed({ onEvent }).options);
  assert.equal(response.status, 201);
  assert.ok(console.error.mock.callCount() > 0);
});

test('no listener is left on a signal that is used for many calls', async (t) => {
  const server = await serve(t, [{}]);
  const { signal } = new AbortController();
  let listeners = 0;
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = (...args) => (listeners++, add.apply(signal, args));
  signal.removeEventListener = (...args) => (listeners--, remove.apply(signal, args));
  const failing = observed({ fetch: async () => { throw new TypeError('down'); }, maxAttempts: 2 });
  for (let call = 0; call < 3; call += 1) {
    await idempotentFetch('pay', server.url, { ...PAY, signal }, observed().options);
    await assert.rejects(idempotentFetch('pay', server.url, { ...PAY, signal }, failing.options));
  }
  assert.equal(listeners, 0);
});

test('a redirected answer is not taken for the outcome', async (t) => {
  const login = await serve(t, [{ status: 200, body: 'please log in' }]);
  const server = await serve(t, [{ status: 302, headers: { Location: login.url } }]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(await response.text(), 'please log in');
  assert.equal(response.idempotency.reason, 'redirected');
  assert.equal(seen.stored().key, server.keys()[0]);
});

/** Options of a machine that sleeps for two days between attempts; the time-out's clock stands still. */
function sleepy(seen) {
  const { sleep } = seen.options;
  return {
    ...seen.options,
    timeout: Infinity,
    async sleep(delay, signal) {
      await sleep(delay, signal);
      seen.advance(48 * 3_600_000);
    },
  };
}

test('a key that has become too old while the machine slept is not sent again', async (t) => {
  const server = await serve(t, [lose, {}]);
  const seen = observed();
  const options = sleepy(seen);
  await assert.rejects(idempotentFetch('pay', server.url, PAY, options), {
    name: 'IdempotencyError', code: 'key-expired',
  });
  assert.equal(server.requests.length, 1);
  assert.equal(seen.told('kept')[0].reason, 'expired');
  const left = await pending('pay', options);
  assert.deepEqual([left.key, left.uncertain, left.refused], [server.keys()[0], true, 'key-expired']);
});

test('a key with which nothing was done before the machine slept is replaced', async (t) => {
  const server = await serve(t, [{ status: 429 }, {}]);
  const seen = observed();
  const response = await idempotentFetch('pay', server.url, PAY, sleepy(seen));
  assert.equal(response.status, 201);
  const [first, second] = server.keys();
  assert.notEqual(second, first);
  assert.equal(response.idempotency.key, second);
  assert.equal(seen.entries.size, 0);
});

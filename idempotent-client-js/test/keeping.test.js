import assert from 'node:assert/strict';
import { test } from 'node:test';

import { forget, IdempotencyError, idempotentFetch, pending } from '../src/index.js';
import { observed, PAY } from './support/options.js';
import { gate, lose, problem, serve } from './support/server.js';

const HOUR = 3_600_000;

/** Calls in turn, each as after a reload: nothing but what is stored is left. */
async function calls(t, steps) {
  const count = steps.length;
  const server = await serve(t, steps);
  const seen = observed({ maxAttempts: 1 });
  for (let call = 0; call < count; call += 1) {
    await idempotentFetch('pay', server.url, PAY, seen.options).catch(() => {});
  }
  const keys = server.keys();
  return { seen, same: keys.map((key) => key === keys[0]) };
}

test('a success gives the key up: the next call is a new operation', async (t) => {
  const { same } = await calls(t, [{ status: 201 }, { status: 200 }]);
  assert.deepEqual(same, [true, false]);
});

for (const status of [400, 401, 403, 404, 413, 422]) {
  test(`${status} gives a clean key up`, async (t) => {
    const { same } = await calls(t, [{ status }, {}]);
    assert.deepEqual(same, [true, false]);
  });

  test(`${status} keeps a key whose earlier attempt was lost`, async (t) => {
    const { same, seen } = await calls(t, [lose, { status }, { status }, {}]);
    assert.deepEqual(same, [true, true, true, true]);
    assert.equal(seen.told('kept')[1].reason, 'refused-but-uncertain');
    assert.equal(seen.entries.size, 0);
  });
}

test('401 keeps a key whose earlier attempt, in the same call, was lost', async (t) => {
  const server = await serve(t, [lose, { status: 401 }, { headers: { 'Idempotency-Replayed': 'true' } }]);
  const seen = observed();
  const refused = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(refused.status, 401);
  assert.equal(refused.idempotency.keyKept, true);
  const paid = await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(paid.idempotency.replayed, true);
  assert.equal(new Set(server.keys()).size, 1);
});

for (const [name, step] of Object.entries({
  500: { status: 500 },
  502: { status: 502 },
  503: { status: 503 },
  'in-flight': problem(409, 'in-flight'),
  'outcome-unknown': problem(409, 'outcome-unknown'),
  'key-reused': problem(422, 'key-reused'),
  'a 409 without a code': { status: 409 },
  "a gateway's record of in-flight": problem(409, 'in-flight', { 'Idempotency-Replayed': 'true' }),
  "a gateway's record of outcome-unknown": problem(409, 'outcome-unknown', { 'Idempotency-Replayed': 'true' }),
  "a gateway's record of key-reused": problem(422, 'key-reused', { 'Idempotency-Replayed': 'true' }),
  'a recorded 500': { status: 500, headers: { 'Idempotency-Replayed': 'true' } },
})) {
  test(`${name} keeps the key, and so does a 401 after it`, async (t) => {
    const { same } = await calls(t, [step, { status: 401 }, {}]);
    assert.deepEqual(same, [true, true, true]);
  });
}

test('429 keeps the key, and leaves it clean', async (t) => {
  const { same } = await calls(t, [{ status: 429 }, { status: 401 }, {}]);
  assert.deepEqual(same, [true, true, false]);
});

test('429 does not make an uncertain key clean', async (t) => {
  const { same } = await calls(t, [lose, { status: 429 }, { status: 401 }, {}]);
  assert.deepEqual(same, [true, true, true, true]);
});

test('a recorded refusal gives up a key whose earlier attempt was lost', async (t) => {
  const declined = { status: 402, headers: { 'Idempotency-Replayed': 'true' } };
  const { same } = await calls(t, [lose, declined, {}]);
  assert.deepEqual(same, [true, true, false]);
});

test('response-not-kept gives the key up: it was done', async (t) => {
  const { same } = await calls(t, [lose, problem(409, 'response-not-kept'), {}]);
  assert.deepEqual(same, [true, true, false]);
});

test('a problem document that cannot be read gives nothing up', async (t) => {
  const broken = { ...problem(409, 'in-flight'), body: '<html>' };
  const { same } = await calls(t, [broken, {}]);
  assert.deepEqual(same, [true, true]);
});

test('that an attempt is out is stored before it is sent', async (t) => {
  let stored;
  const seen = observed();
  const server = await serve(t, [(_, response) => {
    stored = seen.stored();
    response.writeHead(401).end();
  }]);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(stored.uncertain, true);
  assert.equal(stored.key, server.keys()[0]);
  assert.equal(stored.format, 1);
  assert.equal(stored.created, seen.options.now());
  assert.equal(seen.entries.size, 0);
});

test('forget gives a key up, also while a request is under way', async (t) => {
  const { held, open } = gate({ status: 503 });
  const server = await serve(t, [lose, held, {}]);
  const seen = observed({ maxAttempts: 1 });
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options));
  assert.deepEqual(await pending('pay', seen.options), {
    key: server.keys()[0], created: seen.options.now(), uncertain: true,
  });
  await forget('pay', seen.options);
  assert.equal(await pending('pay', seen.options), undefined);

  const options = { ...seen.options, maxAttempts: 2 };
  const first = idempotentFetch('pay', server.url, PAY, options);
  await server.seen(2);
  await forget('pay', options);
  open();
  const retried = await first;
  assert.equal(retried.status, 201);
  assert.equal(seen.entries.size, 0);
  assert.equal(server.keys()[1], server.keys()[2]);
  assert.notEqual(server.keys()[0], server.keys()[1]);
});

test('what was forgotten while it was under way is not stored again', async (t) => {
  const { held, open } = gate({ status: 503 });
  const server = await serve(t, [held]);
  const seen = observed({ maxAttempts: 3 });
  const call = idempotentFetch('pay', server.url, PAY, seen.options);
  await server.seen(1);
  await forget('pay', seen.options);
  open();
  assert.equal((await call).status, 503);
  assert.equal(seen.entries.size, 0);
});

test('a key that is too old to be sent is not replaced as long as its outcome is unknown', async (t) => {
  const server = await serve(t, [{ status: 500 }, { status: 500 }, {}]);
  const seen = observed();
  const pay = () => idempotentFetch('pay', server.url, PAY, seen.options);
  await pay();
  const created = seen.options.now();
  seen.advance(23 * HOUR - 1);
  await pay();
  seen.advance(1);
  for (const _ of [1, 2]) {
    await assert.rejects(pay(), (error) => {
      assert.ok(error instanceof IdempotencyError);
      assert.equal(error.code, 'key-expired');
      assert.match(error.message, /forget/);
      return true;
    });
  }
  const [key, second] = server.keys();
  assert.equal(second, key);
  assert.equal(server.requests.length, 2);
  assert.deepEqual(await pending('pay', seen.options), {
    key, created, uncertain: true, refused: 'key-expired',
  });
  const [{ reason, key: told }] = seen.told('entry-refused');
  assert.deepEqual({ reason, told }, { reason: 'key-expired', told: key });

  await forget('pay', seen.options);
  assert.equal((await pay()).status, 201);
  assert.notEqual(server.keys()[2], key);
});

test('a key that is too old is replaced if nothing was done with it', async (t) => {
  const server = await serve(t, [{ status: 429 }, {}]);
  const seen = observed({ maxAttempts: 1 });
  await idempotentFetch('pay', server.url, PAY, seen.options);
  seen.advance(23 * HOUR);
  assert.equal(await pending('pay', seen.options), undefined);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  const [first, second] = server.keys();
  assert.notEqual(second, first);
  assert.equal(seen.told('entry-ignored').at(-1).key, first);
});

test('a clock that was set back makes no key last longer', async (t) => {
  const server = await serve(t, [{ status: 500 }]);
  const seen = observed({ ttl: HOUR });
  await idempotentFetch('pay', server.url, PAY, seen.options);
  seen.advance(-1000 * HOUR);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  seen.advance(HOUR);
  await assert.rejects(idempotentFetch('pay', server.url, PAY, seen.options), { code: 'key-expired' });
  const [first, second] = server.keys();
  assert.equal(second, first);
  assert.equal(server.requests.length, 2);
});

test('an entry that cannot be read is not replaced: its key may have been sent', async (t) => {
  const server = await serve(t, [{}]);
  const seen = observed();
  const damaged = '{"format":1,"key":7}';
  seen.entries.set('idempotent-client:pay', damaged);
  const pay = () => idempotentFetch('pay', server.url, PAY, seen.options);
  await assert.rejects(pay(), { name: 'IdempotencyError', code: 'key-unreadable' });
  assert.equal(server.requests.length, 0);
  assert.equal(seen.entries.get('idempotent-client:pay'), damaged);
  assert.equal(seen.told('entry-refused')[0].reason, 'key-unreadable');
  const left = await pending('pay', seen.options);
  assert.deepEqual({ ...left }, {
    key: undefined, created: undefined, uncertain: true, refused: 'key-unreadable',
  });
  await forget('pay', seen.options);
  assert.equal((await pay()).status, 201);
});

test("another's newer entry is not removed", async (t) => {
  const seen = observed();
  const newer = JSON.stringify({ format: 1, key: 'newer', created: 1, uncertain: true });
  const server = await serve(t, [(_, response) => {
    seen.entries.set('idempotent-client:pay', newer);
    response.writeHead(201).end();
  }]);
  await idempotentFetch('pay', server.url, PAY, seen.options);
  assert.equal(seen.entries.get('idempotent-client:pay'), newer);
});

test('actions have keys of their own', async (t) => {
  const server = await serve(t, [{ status: 500 }]);
  const seen = observed();
  await idempotentFetch('pay-1', server.url, PAY, seen.options);
  await idempotentFetch('pay-2', server.url, PAY, seen.options);
  assert.equal(new Set(server.keys()).size, 2);
  assert.equal(seen.entries.size, 2);
});

test("a refusal keeps a caller's own key, which may have been sent before", async (t) => {
  const own = { ...PAY, headers: { 'Idempotency-Key': 'order-1' } };
  const replay = { headers: { 'Idempotency-Replayed': 'true' } };
  const server = await serve(t, [lose, { status: 401 }, replay]);
  const seen = observed({ maxAttempts: 1 });
  await assert.rejects(idempotentFetch('pay', server.url, own, seen.options));
  // The browser crashed, and nothing was stored.
  seen.entries.clear();
  const refused = await idempotentFetch('pay', server.url, own, seen.options);
  assert.equal(refused.idempotency.reason, 'refused-but-uncertain');
  assert.equal(refused.idempotency.keyKept, true);
  assert.equal(seen.told('key')[1].uncertain, true);
  assert.equal(seen.stored().uncertain, true);
  assert.equal((await idempotentFetch('pay', server.url, own, seen.options)).idempotency.replayed, true);
  assert.equal(seen.entries.size, 0);
});

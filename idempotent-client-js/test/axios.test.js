import assert from 'node:assert/strict';
import { test } from 'node:test';

import axios from 'axios';

import { idempotentAxios } from '../src/axios.js';
import { observed } from './support/options.js';
import { gate, hang, lose, problem, serve } from './support/server.js';

const PAY = { method: 'post', url: '/payments', data: { amount: 100 } };
const REPLAY = { headers: { 'Idempotency-Replayed': 'true' } };

/** A client of an instance that has this server as its base URL. */
async function client(t, steps, options = {}, config = {}) {
  const server = await serve(t, steps);
  const seen = observed(options);
  const instance = axios.create({ baseURL: server.url, proxy: false, ...config });
  return { server, seen, instance, payments: idempotentAxios(instance, seen.options) };
}

for (const adapter of ['http', 'fetch']) {
  test(`a lost response is sent for again with the same key (${adapter})`, async (t) => {
    const paid = { headers: { 'Content-Type': 'application/json', 'Idempotency-Replayed': 'true' }, body: '{"id":1}' };
    const { server, seen, payments } = await client(t, [lose, paid], {}, { adapter });
    const response = await payments.request('pay', PAY);
    assert.deepEqual(response.data, { id: 1 });
    assert.equal(response.idempotency.attempts, 2);
    assert.equal(response.idempotency.replayed, true);
    assert.equal(new Set(server.keys()).size, 1);
    assert.match(server.keys()[0], /^[0-9a-f-]{36}$/);
    assert.equal(server.requests[1].url, '/payments');
    assert.equal(server.requests[1].body, '{"amount":100}');
    assert.equal(seen.entries.size, 0);
  });

  test(`an in-flight run is asked after again, whatever the type of the response (${adapter})`, async (t) => {
    for (const responseType of ['json', 'text', 'arraybuffer']) {
      const steps = [problem(409, 'in-flight', { 'Retry-After': '1' }), { body: '{}' }];
      const { server, payments } = await client(t, steps, {}, { adapter });
      assert.equal((await payments.request('pay', { ...PAY, responseType })).status, 201);
      assert.equal(server.requests.length, 2);
    }
  });

  test(`a refusal is an AxiosError, and gives a clean key up (${adapter})`, async (t) => {
    const { server, seen, payments } = await client(t, [{ status: 401, body: 'who?' }], {}, { adapter });
    await assert.rejects(payments.request('pay', PAY), (error) => {
      assert.ok(axios.isAxiosError(error));
      assert.equal(error.response.status, 401);
      assert.equal(error.response.data, 'who?');
      assert.equal(error.response.idempotency.keyKept, false);
      return true;
    });
    assert.equal(seen.entries.size, 0);
    assert.equal(server.requests.length, 1);
  });

  test(`a redirected answer is not taken for the outcome (${adapter})`, async (t) => {
    const steps = [{ status: 302, headers: { Location: '/login' } }, { status: 200 }];
    const { seen, payments } = await client(t, steps, {}, { adapter });
    const response = await payments.request('pay', { ...PAY, params: { a: 'b c' } });
    if (adapter === 'http') assert.equal(response.idempotency.reason, 'redirected');
    assert.equal(seen.entries.size, adapter === 'http' ? 1 : 0);
  });
}

test('a URL with parameters is not taken for a redirect', async (t) => {
  const { payments } = await client(t, [{}]);
  const response = await payments.request('pay', { ...PAY, params: { a: 'b c/d', list: [1, 2] } });
  assert.equal(response.idempotency.reason, 'done');
});

test('a stream as response is whole, and its problem is not guessed', async (t) => {
  const { payments } = await client(t, [{ body: 'x'.repeat(100) }, problem(409, 'in-flight')]);
  const { data } = await payments.request('pay', { ...PAY, responseType: 'stream' });
  let text = '';
  for await (const chunk of data) text += chunk;
  assert.equal(text.length, 100);
  await assert.rejects(payments.request('pay', { ...PAY, responseType: 'stream' }), (error) => {
    assert.equal(error.response.idempotency.reason, 'unreadable');
    assert.equal(error.response.idempotency.keyKept, true);
    error.response.data.destroy();
    return true;
  });
});

test('interceptors run, and the outcome is seen below them', async (t) => {
  const { server, seen, instance, payments } = await client(t, [{ status: 503 }, { body: '7' }]);
  instance.interceptors.request.use((config) => {
    config.headers.set('Authorization', 'Bearer alice');
    return config;
  });
  instance.interceptors.response.use((response) => response.data);
  assert.equal(await payments.request('pay', PAY), 7);
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), ['Bearer alice', 'Bearer alice']);
  assert.equal(new Set(server.keys()).size, 1);
  assert.equal(seen.entries.size, 0);
});

test('an interceptor that logs in again sends the same key', async (t) => {
  const { server, seen, instance, payments } = await client(t, [{ status: 401 }, {}]);
  instance.interceptors.response.use(undefined, (error) => instance.request(error.config));
  assert.equal((await payments.request('pay', PAY)).status, 201);
  assert.equal(new Set(server.keys()).size, 1);
  assert.equal(seen.entries.size, 0);
});

for (const [what, lost] of [['is lost', lose], ['is answered 500', { status: 500 }]]) {
  test(`401 keeps the key if what an interceptor sent before it ${what}`, async (t) => {
    const { server, seen, instance, payments } = await client(t, [lost, { status: 401 }, REPLAY]);
    const stop = instance.interceptors.response.use(undefined, (error) => {
      instance.interceptors.response.eject(stop);
      return instance.request(error.config);
    });
    await assert.rejects(payments.request('pay', PAY), (error) => {
      assert.equal(error.response.idempotency.reason, 'refused-but-uncertain');
      assert.equal(error.response.idempotency.keyKept, true);
      assert.equal(error.response.idempotency.attempts, 1);
      return true;
    });
    assert.equal(seen.stored().uncertain, true);
    assert.equal((await payments.request('pay', PAY)).idempotency.replayed, true);
    assert.equal(new Set(server.keys()).size, 1);
  });
}

test('401 keeps the key if what an interceptor sent beside it has not ended', async (t) => {
  const { held, open } = gate({});
  const { server, seen, instance, payments } = await client(t, [held, { status: 401 }]);
  let sent = 0;
  let first;
  instance.interceptors.request.use(async (config) => {
    if ((sent += 1) > 1) return config;
    first = instance.request(config);
    await server.seen(1);
    return config;
  });
  await assert.rejects(payments.request('pay', PAY), { status: 401 });
  assert.equal(seen.stored().uncertain, true);
  open();
  await first;
});

test('a request that an interceptor sent past the adapter, and that was lost, is tried again', async (t) => {
  const { server, seen, instance, payments } = await client(t, [{ status: 401 }, lose, {}]);
  const stop = instance.interceptors.response.use(undefined, ({ config: { adapter: _, ...config } }) => {
    instance.interceptors.response.eject(stop);
    return axios.request(config);
  });
  assert.equal((await payments.request('pay', PAY)).status, 201);
  assert.equal(new Set(server.keys()).size, 1);
  assert.equal(seen.told('failed').length, 1);
});

test('an answer that an interceptor made up is none, and it is told whether something was sent', async (t) => {
  for (const [sends, message] of [[true, /was sent and got no answer/], [false, /nothing was sent/]]) {
    const { seen, instance, payments } = await client(t, [lose]);
    if (sends) instance.interceptors.response.use(undefined, () => ({ status: 200 }));
    else instance.interceptors.request.use((config) => {
      config.adapter = async (config) => ({ status: 200, data: '', headers: {}, config });
      return config;
    });
    await assert.rejects(payments.request('pay', PAY), message);
    assert.equal(seen.stored().uncertain, true);
  }
});

test('an interceptor that throws after a success does not make it uncertain', async (t) => {
  const { server, seen, instance, payments } = await client(t, [{}]);
  instance.interceptors.response.use(() => {
    throw new Error('mistake');
  });
  await assert.rejects(payments.request('pay', PAY), /mistake/);
  assert.equal(server.requests.length, 1);
  assert.equal(seen.entries.size, 0);
});

test('without any answer the error is that of axios', async (t) => {
  const { server, seen, payments } = await client(t, [lose], { maxAttempts: 2 });
  await assert.rejects(payments.request('pay', PAY), (error) => axios.isAxiosError(error) && !error.response);
  assert.equal(server.requests.length, 2);
  assert.equal(seen.stored().uncertain, true);
});

test('what would fail again is not tried again', async (t) => {
  const { seen, payments } = await client(t, [{}]);
  await assert.rejects(payments.request('pay', { ...PAY, baseURL: '', url: 'nonsense://x' }), axios.isAxiosError);
  assert.equal(seen.told('attempt').length, 1);
});

test("an abort is axios's, and the key is kept", async (t) => {
  const { server, seen, payments } = await client(t, [hang]);
  const controller = new AbortController();
  const call = payments.request('pay', { ...PAY, signal: controller.signal });
  await server.seen(1);
  controller.abort();
  await assert.rejects(call, (error) => axios.isCancel(error) && error.code === 'ERR_CANCELED');
  assert.equal(seen.stored().uncertain, true);
});

test("time-outs are axios's", async (t) => {
  const { payments } = await client(t, [hang], { timeout: 50 });
  await assert.rejects(payments.request('pay', PAY), { name: 'AxiosError', code: 'ETIMEDOUT' });
  const own = await client(t, [hang, {}]);
  assert.equal((await own.payments.request('pay', { ...PAY, timeout: 50 })).status, 201);
  assert.equal(own.seen.told('failed')[0].reason, 'timeout');
});

test('a double click is one request, and another body is refused', async (t) => {
  const { held, open } = gate({});
  const { server, payments } = await client(t, [held]);
  const calls = [1, 2].map(() => payments.request('pay', { ...PAY, data: { amount: 100 } }));
  for (const data of [{ amount: 999 }, { amount: 100, more: 1 }, [100], 'text', undefined]) {
    await assert.rejects(payments.request('pay', { ...PAY, data }), { code: 'different-request' });
  }
  await assert.rejects(payments.request('pay', { ...PAY, url: '/other' }), { code: 'different-request' });
  open();
  await Promise.all(calls);
  assert.equal(server.requests.length, 1);
});

test('data is compared by what axios makes of it', async (t) => {
  class Payment {
    constructor(amount) {
      this.amount = amount;
    }
  }
  const kinds = [
    (value) => new Payment(value),
    (value) => ({ at: new Date(value), list: [{ value }] }),
    (value) => new URLSearchParams({ value }),
    (value) => `text ${value}`,
  ];
  for (const kind of kinds) {
    const { held, open } = gate({});
    const { server, payments } = await client(t, [held]);
    const pay = (value) => payments.request('pay', { ...PAY, data: kind(value) });
    const calls = [pay(1), pay(1)];
    await assert.rejects(pay(2), { code: 'different-request' });
    open();
    await Promise.all(calls);
    assert.equal(server.requests.length, 1);
  }
});

test("a caller's key is used, and what cannot be sent again is refused", async (t) => {
  const { server, payments } = await client(t, [{}]);
  await payments.request('pay', { ...PAY, headers: { 'idempotency-key': 'order-1' } });
  assert.deepEqual(server.keys(), ['order-1']);
  const refused = (config, code) => assert.rejects(payments.request('pay', { ...PAY, ...config }), { code });
  await refused({ data: new Blob(['x']).stream() }, 'body-not-repeatable');
  await refused({ method: undefined }, 'method-safe');
  await refused({ headers: { 'Idempotency-Key': 'two words' } }, 'key-invalid');
  assert.equal(server.requests.length, 1);
});

test('validateStatus of the caller decides what is an error, not what is an outcome', async (t) => {
  const { server, seen, payments } = await client(t, [lose, { status: 401 }]);
  const response = await payments.request('pay', { ...PAY, validateStatus: () => true });
  assert.equal(response.status, 401);
  assert.equal(response.idempotency.keyKept, true);
  assert.equal(server.requests.length, 2);
  assert.equal(seen.entries.size, 1);
});

test('a relative URL leads to the same place after the page changed its address', async (t) => {
  const server = await serve(t, [lose, {}]);
  t.after(() => delete globalThis.document);
  for (const [config, wanted] of [[{}, '/shop/payments'], [{ baseURL: '../api/' }, '/api/payments']]) {
    globalThis.document = { baseURI: `${server.url}/shop/cart` };
    const seen = observed({
      sleep: async () => {
        globalThis.document = { baseURI: `${server.url}/elsewhere/done` };
      },
    });
    const payments = idempotentAxios(axios.create({ proxy: false, ...config }), seen.options);
    const before = server.requests.length;
    await payments.request('pay', { ...PAY, url: 'payments' });
    const urls = server.requests.slice(before).map(({ url }) => url);
    assert.deepEqual(new Set(urls), new Set([wanted]));
  }
});

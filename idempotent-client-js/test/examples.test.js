import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import axios from 'axios';

import { idempotentAxios } from '../src/axios.js';
import { idempotentFetch } from '../src/index.js';
import { PAY } from './support/options.js';

const BODY = JSON.stringify({ user: 'alice', amount: 100, currency: 'USD' });

for (const name of ['AXUM_PAYMENTS', 'ACTIX_PAYMENTS']) {
  const binary = process.env[name];
  const skip = binary ? false : `${name} is not set to the path of the example's binary`;
  const each = (what, run) => test(`${name}: ${what}`, { skip }, (t) => run(t, binary));

  each('a lost response is one payment', async (t, binary) => {
    const { url } = await application(t, binary);
    const proxy = await cutting(t, url, 2);
    const events = [];
    const response = await pay(proxy.url, { onEvent: (event) => events.push(event) });
    assert.equal(response.status, 201);
    assert.equal(response.idempotency.attempts, 3);
    assert.equal(response.idempotency.replayed, true);
    assert.equal(proxy.answered(), 3);
    assert.deepEqual(await payments(url), [await response.json()]);
    assert.equal(events.filter(({ type }) => type === 'failed').length, 2);
  });

  each('a double click is one payment', async (t, binary) => {
    const { url } = await application(t, binary);
    const storage = new Map();
    const both = await Promise.all([1, 2].map(() => pay(url, { storage })));
    assert.deepEqual(await both[0].json(), await both[1].json());
    assert.equal((await payments(url)).length, 1);
    await pay(url, { storage });
    assert.equal((await payments(url)).length, 2);
  });

  each('a run that is under way is waited for', async (t, binary) => {
    const { url } = await application(t, binary);
    const events = [];
    const response = await pay(url, {
      attemptTimeout: 300,
      maxAttempts: 20,
      onEvent: (event) => events.push(event),
    }, { 'X-Demo-Delay-Ms': '1500' });
    assert.equal(response.status, 201);
    assert.equal(response.idempotency.replayed, true);
    assert.ok(events.some(({ code }) => code === 'in-flight'));
    assert.equal((await payments(url)).length, 1);
  });

  each('a 401 after a lost response does not lead to a second payment', async (t, binary) => {
    const { url } = await application(t, binary);
    const proxy = await cutting(t, url, 1);
    const storage = new Map();
    await assert.rejects(pay(proxy.url, { storage, maxAttempts: 1 }), TypeError);
    const refused = await pay(proxy.url, { storage }, { Authorization: '' });
    assert.equal(refused.status, 401);
    assert.equal(refused.idempotency.keyKept, true);
    const paid = await pay(proxy.url, { storage });
    assert.equal(paid.idempotency.replayed, true);
    assert.equal((await payments(url)).length, 1);
  });

  each('another body with a kept key is told so, and the key is kept', async (t, binary) => {
    const { url } = await application(t, binary);
    const proxy = await cutting(t, url, 1);
    const storage = new Map();
    await assert.rejects(pay(proxy.url, { storage, maxAttempts: 1 }), TypeError);
    const other = await pay(url, { storage }, {}, BODY.replace('100', '999'));
    assert.equal(other.status, 422);
    assert.equal(other.idempotency.code, 'key-reused');
    assert.equal(other.idempotency.keyKept, true);
    assert.equal((await pay(url, { storage })).idempotency.replayed, true);
    assert.equal((await payments(url)).length, 1);
  });

  each('a failure that was recorded keeps the key, and is not tried again', async (t, binary) => {
    const { url } = await application(t, binary);
    const storage = new Map();
    const fail = { 'X-Demo-Fail': 'after-effect-500' };
    assert.equal((await pay(url, { storage }, fail)).idempotency.attempts, 1);
    const again = await pay(url, { storage }, fail);
    assert.equal(again.status, 500);
    assert.equal(again.idempotency.reason, 'recorded-failure');
    assert.equal((await payments(url)).length, 1);
  });

  each('what was not done is tried again', async (t, binary) => {
    const { url } = await application(t, binary);
    const storage = new Map();
    const fail = { 'X-Demo-Fail': 'before-effect-503' };
    const failed = await pay(url, { storage, maxAttempts: 2, baseDelay: 1 }, fail);
    assert.equal(failed.status, 503);
    assert.equal((await payments(url)).length, 0);
    assert.equal((await pay(url, { storage })).status, 201);
    assert.equal((await payments(url)).length, 1);
  });

  each('an answer that is too large to keep is known to be done', async (t, binary) => {
    const { url } = await application(t, binary);
    const proxy = await cutting(t, url, 1);
    const storage = new Map();
    const response = await pay(proxy.url, { storage }, { 'X-Demo-Body-Bytes': '2000000' });
    assert.equal(response.status, 409);
    assert.equal(response.idempotency.code, 'response-not-kept');
    assert.equal(response.idempotency.keyKept, false);
    assert.equal((await payments(url)).length, 1);
  });

  each('a crash after the effect is one payment', async (t, binary) => {
    const folder = await mkdtemp(join(tmpdir(), 'payments-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const store = `sqlite:${join(folder, 'payments.db')}`;
    const first = await application(t, binary, store);
    const storage = new Map();
    const crash = { 'X-Demo-Fail': 'crash-after-effect' };
    await assert.rejects(pay(first.url, { storage, maxAttempts: 1 }, crash), TypeError);
    await first.ended;
    const second = await application(t, binary, store);
    // The same request by another way: the address is not part of it.
    const response = await pay(second.url, { storage });
    assert.equal(response.status, 201);
    assert.equal(response.idempotency.replayed, true);
    assert.equal((await payments(second.url)).length, 1);
  });

  each('axios pays once when the response is lost', async (t, binary) => {
    const { url } = await application(t, binary);
    const proxy = await cutting(t, url, 1);
    const instance = axios.create({ baseURL: proxy.url, proxy: false, headers: { Authorization: 'Bearer alice' } });
    const client = idempotentAxios(instance, { storage: new Map(), baseDelay: 1 });
    const response = await client.request('checkout', { method: 'post', url: '/payments', data: JSON.parse(BODY) });
    assert.equal(response.idempotency.replayed, true);
    assert.deepEqual(await payments(url), [response.data]);
  });
}

function pay(url, options, headers = {}, body = BODY) {
  const init = { ...PAY, headers: { ...PAY.headers, Authorization: 'Bearer alice', ...headers }, body };
  return idempotentFetch('checkout', `${url}/payments`, init, {
    storage: new Map(),
    baseDelay: 50,
    ...options,
  });
}

async function payments(url) {
  const response = await fetch(`${url}/payments`, { headers: { Authorization: 'Bearer alice' } });
  return response.json();
}

/** Starts an example, and resolves when it listens. */
async function application(t, binary, store = 'memory') {
  const environment = { ...process.env, LISTEN: '127.0.0.1:0', STORE: store, RUST_LOG: 'error' };
  const child = spawn(binary, { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /listens on (http:\/\/[\d.:]+)/.exec(line)?.[1];
    if (url) return { url, ended };
  }
  throw new Error(`${binary} ended before it listened`);
}

/** A proxy that cuts the connection after the server has answered, the first `losses` times. */
async function cutting(t, target, losses) {
  let answers = 0;
  const proxy = http.createServer((request, response) => {
    const { method, headers } = request;
    const forwarded = http.request(new URL(request.url, target), { method, headers, agent: false }, (answer) => {
      answer.once('end', () => (answers += 1));
      if (losses > 0) {
        losses -= 1;
        answer.resume().once('end', () => request.socket.destroy());
        return;
      }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(forwarded);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return { url: `http://127.0.0.1:${proxy.address().port}`, answered: () => answers };
}

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { answer, gate, hang, serve } from './support/server.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : `there is no ${executablePath}; CHROMIUM names another`;

let browser;
before(async () => {
  if (!skip) browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
});
after(() => browser?.close());

/** A server of the client's own files, and of payments; and tabs that have loaded it. */
async function pages(t, steps, count = 1) {
  const payments = await serve(t, [async (request, response) => {
    if (request.method === 'POST') {
      const step = steps.length > 1 ? steps.shift() : steps[0];
      return typeof step === 'function' ? step(request, response) : answer(response, step);
    }
    const file = /^\/src\/[a-z]+\.js$/.exec(request.url)?.[0];
    const body = file && (await readFile(new URL(`..${file}`, import.meta.url)));
    const type = file ? 'text/javascript' : 'text/html';
    answer(response, { status: 200, headers: { 'Content-Type': type }, body: body || '<!doctype html>' });
  }]);
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = [];
  while (tabs.length < count) {
    const tab = await context.newPage();
    await tab.goto(payments.url);
    tabs.push(tab);
  }
  const paths = () => payments.requests.filter(({ method }) => method === 'POST').map(({ url }) => url);
  const keys = () => payments.requests.filter(({ method }) => method === 'POST').map(({ key }) => key);
  /** Resolves when this many payments were asked for. */
  const asked = async (number) => {
    while (keys().length < number) await payments.seen(payments.requests.length + 1);
  };
  return { tabs, keys, paths, asked };
}

function pay(tab, storage) {
  return tab.evaluate(async (storage) => {
    const { idempotentFetch } = await import('/src/index.js');
    window.told = [];
    const onEvent = (event) => window.told.push(event.type);
    const options = { storage, onEvent };
    const response = await idempotentFetch('pay', '/', { method: 'POST', body: 'x' }, options);
    return { text: await response.text(), replayed: response.idempotency.replayed, told: window.told };
  }, storage);
}

const REPLAY = { headers: { 'Idempotency-Replayed': 'true' }, body: 'paid' };

test('two tabs of a browser that do the same at once do it once', { skip }, async (t) => {
  const { held, open } = gate({ body: 'paid' });
  const { tabs, keys, asked } = await pages(t, [held, REPLAY, {}], 2);
  const first = pay(tabs[0], 'local');
  await asked(1);
  const second = pay(tabs[1], 'local');
  await tabs[1].waitForFunction(() => window.told?.includes('waiting'));
  assert.equal(keys().length, 1);
  open();
  assert.equal((await first).replayed, false);
  assert.equal((await second).replayed, true);
  assert.equal(new Set(keys()).size, 1);
  // In the other tab, which may be another process, it shows a little later.
  assert.equal(await tabs[1].evaluate(() => localStorage.length), 0);
  await pay(tabs[1], 'local');
  assert.equal(new Set(keys()).size, 2);
});

test('a reload of a page of a browser keeps the key', { skip }, async (t) => {
  const { tabs: [tab], keys, asked } = await pages(t, [hang, REPLAY]);
  const interrupted = pay(tab, undefined).catch(() => 'interrupted');
  await asked(1);
  await tab.reload();
  assert.equal(await interrupted, 'interrupted');
  const left = await tab.evaluate(async () => (await import('/src/index.js')).pending('pay'));
  assert.deepEqual({ key: left.key, uncertain: left.uncertain }, { key: keys()[0], uncertain: true });
  assert.equal((await pay(tab, undefined)).replayed, true);
  assert.equal(new Set(keys()).size, 1);
  assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
});

test('a page of a browser that changes its address meanwhile asks for the same', { skip }, async (t) => {
  const { tabs: [tab], keys, paths } = await pages(t, [{ status: 503 }, REPLAY]);
  await tab.evaluate(async () => {
    history.replaceState(null, '', '/shop/cart');
    const { idempotentFetch } = await import('/src/index.js');
    const onEvent = ({ type }) => type === 'retry' && history.pushState(null, '', '/elsewhere/done');
    await idempotentFetch('pay', 'payments', { method: 'POST', body: 'x' }, { onEvent });
  });
  assert.deepEqual(paths(), ['/shop/payments', '/shop/payments']);
  assert.equal(new Set(keys()).size, 1);
});

test('a page of a browser that may not store keeps the key in memory', { skip }, async (t) => {
  const { tabs: [tab], keys } = await pages(t, [{ status: 500 }, REPLAY]);
  await tab.evaluate(() => {
    Storage.prototype.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
  });
  assert.ok((await pay(tab, undefined)).told.includes('storage-unavailable'));
  assert.equal((await pay(tab, undefined)).replayed, true);
  assert.equal(new Set(keys()).size, 1);
});

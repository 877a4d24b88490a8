// What the page owes everybody who uses it, whatever breaks.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startApplication } from './application.js';
import { findChromium, temporaryFolder } from './chromium.js';
import { Demonstration } from './demonstration.js';

const chromium = await findChromium();
const scratch = await temporaryFolder();
after(scratch.remove);
const axe = await axeSource().catch(() => undefined);

for (const [name, variable] of [
  ['axum', 'AXUM_PAYMENTS'],
  ['actix', 'ACTIX_PAYMENTS'],
]) {
  const binary = process.env[variable];
  const skip = chromium.missing ?? (binary ? false : `${variable} names no application`);
  describe(`the page, served by ${name}`, { skip }, () => {
    let application;
    let browser;
    before(async () => {
      application = await startApplication(binary, 'memory');
      browser = await chromium.launch();
    });
    after(async () => {
      await browser?.close();
      await application?.stop();
    });
    const open = (options) => Demonstration.open(browser, application.address, options);

    test('storage is blocked', async () => {
      const page = await open({ before: blockStorage });
      assert.match(
        await page.page.locator('.notice').textContent(),
        /blocks storage .* kept in memory/,
      );
      for (const needing of ['Reload', 'Two tabs']) {
        assert.ok(await page.page.getByRole('radio', { name: needing }).isDisabled());
      }
      await page.break('Lose the response');
      await page.assertCharged(application, { protected: 1, unprotected: 2 });
      await page.break('Double click');
      assert.deepEqual(await page.verdict('protected'), ['Charged once', '$49.00']);
      assert.equal((await application.entries(page.caller('protected'))).length, 2);
      assert.equal((await application.entries(page.caller('unprotected'))).length, 4);
      await page.close();
    });

    test('Pay is pressed again while it works', async () => {
      const page = await open();
      await page.choose('Slow server');
      await page.pay();
      await page.page.locator('#protected .step[data-type=charged]').waitFor();
      await page.pay();
      await page.pay();
      await page.settled();
      assert.equal((await application.entries(page.caller('protected'))).length, 1);
      assert.ok((await application.entries(page.caller('unprotected'))).length >= 3);
      await page.close();
    });

    test('reloaded by hand, in the middle and afterwards', async () => {
      const page = await open();
      await page.choose('Slow server');
      await page.pay();
      await page.page.locator('#protected .step[data-type=charged]').waitFor();
      await page.page.reload();
      await page.settled();
      assert.equal((await application.entries(page.caller('protected'))).length, 1);
      assert.equal(page.keys().size, 1);
      const [sent, steps] = [page.sent.length, await page.steps('protected')];
      await page.page.reload();
      await page.page.locator('#protected .step').first().waitFor();
      assert.deepEqual(await page.steps('protected'), steps);
      assert.equal(page.sent.length, sent);
      await page.close();
    });

    test('starting over is another customer', async () => {
      const page = await open();
      await page.break('Nothing');
      const before = page.caller('protected');
      await page.page.getByRole('button', { name: 'Start over' }).click();
      assert.deepEqual(await page.verdict('protected'), ['Not charged yet']);
      assert.equal(await page.page.locator('.step').count(), 0);
      page.sent.length = 0;
      await page.break('Lose the response');
      assert.notEqual(page.caller('protected'), before);
      await page.assertCharged(application, { protected: 1, unprotected: 2 });
      await page.close();
    });

    test('with the keyboard alone', async () => {
      const page = await open();
      const { keyboard } = page.page;
      const focused = () =>
        page.page.evaluate(
          () => document.activeElement.value || document.activeElement.textContent,
        );
      await keyboard.press('Tab');
      assert.equal(await focused(), 'Skip to the results');
      await keyboard.press('Tab');
      assert.equal(await focused(), 'lose');
      for (let down = 0; down < 3; down += 1) await keyboard.press('ArrowDown');
      assert.equal(await focused(), 'double');
      const ring = await page.page.evaluate(
        () => getComputedStyle(document.activeElement.closest('.breakage')).outlineStyle,
      );
      assert.equal(ring, 'solid', 'one sees where one is');
      await keyboard.press('Tab');
      assert.equal(await focused(), 'Pay $49.00');
      await keyboard.press('Enter');
      await page.settled();
      await page.assertCharged(application, { protected: 1, unprotected: 2 });
      assert.equal(await focused(), 'Pay $49.00', 'the focus stays');
      await keyboard.press('Tab');
      await keyboard.press('Space');
      assert.match(await page.page.locator('[role=status]').textContent(), /new customer/);
      await page.close();
    });

    test('what came of it is told to a screen reader', async () => {
      const page = await open();
      await page.break('Lose the response');
      const told = await page.page.getByRole('status').textContent();
      assert.match(
        told,
        /With a key: Charged once \$49\.00\..* Without a key: Charged twice \$98\.00\./,
      );
      await page.close();
    });

    test('nobody has to scroll sideways on a small screen', async () => {
      const page = await open({ viewport: { width: 320, height: 640 } });
      const wide = () => page.page.evaluate(() => document.documentElement.scrollWidth);
      assert.equal(await wide(), 320);
      for (const breakage of ['Slow server', 'Two tabs', 'Reload']) {
        await page.break(breakage);
        assert.equal(await wide(), 320, breakage);
      }
      await page.close();
    });

    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 375]) {
        const missing = axe ? false : 'axe-core is not installed: `npm install`';
        test(`axe finds nothing, ${colorScheme}, ${width} wide`, { skip: missing }, async () => {
          const options = {
            colorScheme,
            reducedMotion: 'reduce',
            viewport: { width, height: 800 },
          };
          const page = await open(options);
          assert.deepEqual(await violations(page.page), []);
          await page.break('Lose the response');
          assert.deepEqual(await violations(page.page), []);
          await page.close();
        });
      }
    }

    test('a second tab of nobody', async () => {
      const page = await open();
      await page.page.goto(`${application.address}/?second-tab=order-unknown`);
      assert.match(await page.page.locator('.notice').textContent(), /no longer there/);
      assert.equal(page.sent.length, 0);
      await page.close();
    });

    for (const [what, reached, spoil, words, step] of [
      ['is too old', 1, age, /too old to be sent again/, 'Finds the charge in the ledger, sends nothing'],
      ['cannot be read', 0, damage, /cannot be read/, 'Finds no charge in the ledger, pays with a new key'],
    ]) {
      test(`a key that ${what} is not sent, and the ledger is asked`, async () => {
        const page = await open({ asked: /net::ERR_CONNECTION_RESET/ });
        const payments = (url) => url.pathname === '/payments';
        let sent = 0;
        await page.page.route(payments, (route) => {
          if (route.request().method() !== 'POST') return route.continue();
          sent += 1;
          return sent <= reached ? route.continue() : route.abort('connectionreset');
        });
        await page.break('Lose the response');
        assert.match(await page.said('protected'), /does not answer\. The key is kept/);
        await page.page.unroute(payments);
        await page.page.evaluate(spoil);
        const attempts = () => page.sent.filter(({ side }) => side === 'protected').length;
        const before = attempts();
        await page.tryAgain();
        assert.equal(attempts(), before);
        assert.match(await page.said('protected'), words);
        assert.match(await page.said('protected'), /is not known\. .* looks at the ledger/);
        await page.tryAgain();
        assert.equal(attempts(), before + 1 - reached);
        assert.ok((await page.steps('protected')).includes(step));
        await page.assertCharged(application, { protected: 1, unprotected: 2 });
        assert.match(await page.said('protected'), /^The customer was told: paid\./);
        assert.equal(page.keys().size, 2 - reached);
        assert.ok(await page.page.getByRole('button', { name: 'Pay $49.00' }).isVisible());
        await page.close();
      });
    }

    test('the server is gone, and comes back', async () => {
      const store = `sqlite:${join(scratch.folder, name)}.db`;
      const first = await startApplication(binary, store);
      const asked = /net::ERR_CONNECTION_(REFUSED|RESET)|net::ERR_EMPTY_RESPONSE/;
      const page = await Demonstration.open(browser, first.address, { asked });
      await first.stop();
      await page.break('Nothing');
      assert.match(await page.said('protected'), /does not answer\. The key is kept/);
      assert.equal(
        await page.page.locator('#protected .charged span').first().textContent(),
        'Not known',
      );
      assert.match(await page.page.locator('#protected .ledger').textContent(), /cannot be asked/);

      const again = await startApplication(binary, store, new URL(first.address).host);
      await page.page.getByRole('button', { name: 'Try again' }).waitFor();
      await page.pay();
      await page.settled();
      await page.assertCharged(again, { protected: 1, unprotected: 1 });
      assert.equal(page.keys().size, 1, 'it went on with the same key');
      await again.stop();
      await page.close();
    });
  });
}

/** Runs in the page: the key was made two days ago. */
function age() {
  for (const name of Object.keys(sessionStorage)) {
    if (!name.startsWith('idempotent-client:')) continue;
    const entry = JSON.parse(sessionStorage.getItem(name));
    sessionStorage.setItem(name, JSON.stringify({ ...entry, created: entry.created - 172_800_000 }));
  }
}

/** Runs in the page. */
function damage() {
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith('idempotent-client:')) sessionStorage.setItem(name, '{}');
  }
}

/** Runs in the page. */
function blockStorage() {
  for (const name of ['sessionStorage', 'localStorage']) {
    Object.defineProperty(window, name, {
      get() {
        throw new DOMException('blocked', 'SecurityError');
      },
    });
  }
}

async function axeSource() {
  const { resolve } = createRequire(import.meta.url);
  return readFile(resolve('axe-core/axe.min.js'), 'utf8');
}

async function violations(page) {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => window.axe.run());
  return found.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ''}`)}`,
  );
}

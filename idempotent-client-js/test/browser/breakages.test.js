// Every entry of the panel, on both applications, with records in memory and in SQLite. What was
// charged is asked of the server.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startApplication } from './application.js';
import { findChromium, temporaryFolder } from './chromium.js';
import { Demonstration } from './demonstration.js';

const chromium = await findChromium();
const scratch = await temporaryFolder();
after(scratch.remove);

for (const [name, variable] of [
  ['axum', 'AXUM_PAYMENTS'],
  ['actix', 'ACTIX_PAYMENTS'],
]) {
  const binary = process.env[variable];
  const skip = chromium.missing ?? (binary ? false : `${variable} names no application`);
  for (const store of ['memory', `sqlite:${join(scratch.folder, name)}.db`]) {
    describe(`${name} on ${store.split(':')[0]}`, { skip }, () => {
      let application;
      let browser;
      before(async () => {
        application = await startApplication(binary, store);
        browser = await chromium.launch();
      });
      after(async () => {
        await browser?.close();
        await application?.stop();
      });
      breakages({
        open: (options) => Demonstration.open(browser, application.address, options),
        application: () => application,
        // In the ledger's own database the outcome was committed with the payment.
        commitsTogether: store !== 'memory',
      });
    });
  }
}

function breakages({ open, application, commitsTogether }) {
  const charged = { protected: 1, unprotected: 2 };

  test('nothing', async () => {
    const page = await open();
    await page.break('Nothing');
    await page.assertCharged(application(), { protected: 1, unprotected: 1 });
    assert.equal(page.sent.length, 2);
    await page.close();
  });

  test('lose the response', async () => {
    const page = await open();
    await page.break('Lose the response');
    await page.assertCharged(application(), charged);
    assert.equal(page.keys().size, 1);
    const steps = await page.steps('protected');
    assert.ok(steps.includes('201, paid, lost on the way'), steps.join(' / '));
    assert.ok(steps.includes('201, replayed'), steps.join(' / '));
    assert.equal(await page.said('protected'), 'The customer was told: paid.');
    await page.close();
  });

  test('slow server', async () => {
    const page = await open();
    await page.break('Slow server');
    await page.assertCharged(application(), charged);
    assert.equal(page.keys().size, 1);
    const steps = await page.steps('protected');
    assert.ok(steps.includes('No answer within 1.2 s, stops waiting'), steps.join(' / '));
    // With records in the ledger's database the outcome is there as soon as the payment is.
    assert.equal(steps.includes('409, still in flight'), !commitsTogether, steps.join(' / '));
    assert.ok(steps.includes('201, replayed'), steps.join(' / '));
    await page.close();
  });

  test('server error', async () => {
    const page = await open();
    await page.break('Server error');
    await page.assertCharged(application(), charged);
    assert.equal(page.keys().size, 1);
    if (commitsTogether) {
      assert.equal(await page.said('protected'), 'The customer was told: paid.');
    } else {
      assert.match(
        await page.said('protected'),
        /^The customer was told: failed\. .* recorded its 500 .* the key is kept .* looks at the ledger/,
      );
      // The customer, who was told that it failed, tries again.
      const sent = page.sent.length;
      await page.tryAgain();
      assert.equal(
        await page.said('protected'),
        'The customer was told: paid. The charge was found in the ledger, and nothing was paid again.',
      );
      assert.equal(page.sent.length, sent);
      await page.assertCharged(application(), charged);
    }
    // Now its outcome is known: what is paid next is another order.
    await page.break('Nothing');
    assert.equal(page.keys().size, 2);
    assert.deepEqual(await page.verdict('protected'), ['Charged once', '$49.00']);
    assert.equal((await application().entries(page.caller('protected'))).length, 2);
    await page.close();
  });

  test('double click', async () => {
    const page = await open();
    await page.break('Double click');
    await page.assertCharged(application(), charged);
    assert.equal(page.sent.filter(({ side }) => side === 'protected').length, 1);
    assert.ok(
      (await page.steps('protected')).includes('Joins the payment under way, sends nothing'),
    );
    await page.close();
  });

  test('reload', async () => {
    const page = await open();
    let loads = 0;
    page.page.on('load', () => (loads += 1));
    await page.break('Reload');
    assert.equal(loads, 1);
    await page.assertCharged(application(), charged);
    const attempts = page.sent.filter(({ side }) => side === 'protected');
    assert.ok(attempts.length > 1);
    assert.equal(page.keys().size, 1, 'the key outlived the reload');
    const steps = await page.steps('protected');
    assert.ok(steps.includes('Kept the key, goes on by itself'), steps.join(' / '));
    await page.close();
  });

  test('two tabs', async () => {
    const page = await open();
    await page.break('Two tabs');
    assert.equal(page.tabs, 2);
    await page.assertCharged(application(), charged);
    assert.equal(page.keys().size, 1, 'both tabs had one key');
    const steps = await page.steps('protected');
    assert.ok(
      steps.some((step) => /waits for the other tab/i.test(step)),
      steps.join(' / '),
    );
    await page.close();
  });

  test('two tabs, where pop-ups are blocked', async () => {
    const page = await open({ before: () => (window.open = () => null) });
    await page.break('Two tabs');
    assert.equal(page.tabs, 1);
    await page.assertCharged(application(), charged);
    assert.equal(page.keys().size, 1);
    assert.equal(await page.page.locator('iframe').count(), 0, 'the frame is gone');
    await page.close();
  });
}

import assert from 'node:assert/strict';

/** What Chromium says of every answer that is an error; the page asks for some of them. */
const ASKED_FOR = /^Failed to load resource: the server responded with a status of (409|500) /;

/** The demonstration page in a browser of its own, as somebody who looks at the screen uses it. */
export class Demonstration {
  #asked;

  /**
   * @param {import('playwright-core').BrowserContext} context
   * @param {import('playwright-core').Page} page
   * @param {RegExp} asked messages on the console that are asked for
   */
  constructor(context, page, asked) {
    this.context = context;
    this.page = page;
    this.#asked = asked;
    /** Requests that pay, in the order in which they were sent, of all tabs. */
    this.sent = [];
    /** What must not be: errors on the console, uncaught ones, violations of the policy. */
    this.problems = [];
    this.tabs = 0;
    context.on('page', (tab) => this.#watch(tab));
    this.#watch(page);
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {string} address
   * @param {import('playwright-core').BrowserContextOptions & { before?: () => void, asked?: RegExp }} [options]
   *   `before`: runs in every page before its own scripts
   */
  static async open(browser, address, { before, asked = ASKED_FOR, ...options } = {}) {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    if (before) await context.addInitScript(before);
    const opened = new Demonstration(context, await context.newPage(), asked);
    await opened.page.goto(address);
    await opened.page.waitForSelector('input[name=breakage]');
    return opened;
  }

  #watch(tab) {
    this.tabs += 1;
    tab.on('console', (message) => {
      if (message.type() !== 'error' || this.#asked.test(message.text())) return;
      this.problems.push(message.text());
    });
    tab.on('pageerror', (error) => this.problems.push(String(error)));
    tab.on('request', (request) => {
      if (request.method() !== 'POST') return;
      const { authorization = '', 'idempotency-key': key } = request.headers();
      const side = request.url().includes('/unprotected/') ? 'unprotected' : 'protected';
      this.sent.push({ side, key, caller: authorization.replace('Bearer ', '') });
    });
  }

  async choose(breakage) {
    await this.page.getByRole('radio', { name: breakage, exact: true }).check();
  }

  async pay() {
    await this.page.getByRole('button', { name: /^(Pay|Try again)/ }).click();
  }

  async tryAgain() {
    await this.page.getByRole('button', { name: 'Try again', exact: true }).click();
    await this.settled();
  }

  /** Until both checkouts have come to their end. */
  async settled() {
    await this.page.waitForFunction(
      () => document.getElementById('status')?.textContent.startsWith('With a key:'),
      undefined,
      { timeout: 45_000 },
    );
  }

  async break(breakage) {
    await this.choose(breakage);
    await this.pay();
    await this.settled();
  }

  keys() {
    return new Set(this.sent.filter(({ side }) => side === 'protected').map(({ key }) => key));
  }

  caller(side) {
    const callers = new Set(
      this.sent.filter((sent) => sent.side === side).map(({ caller }) => caller),
    );
    assert.equal(callers.size, 1, `${side} pays as one caller: ${[...callers]}`);
    return [...callers][0];
  }

  async verdict(side) {
    return this.page.locator(`#${side} .charged span`).allTextContents();
  }

  async said(side) {
    return this.page.locator(`#${side} .said`).textContent();
  }

  async steps(side) {
    return this.page.locator(`#${side} .step .label`).allTextContents();
  }

  /** Asks the server what was charged, and sees that the page says the same. */
  async assertCharged(application, { protected: once, unprotected: often }) {
    for (const [side, charges] of [
      ['protected', once],
      ['unprotected', often],
    ]) {
      const entries = await application.entries(this.caller(side));
      const steps = (await this.steps(side)).join(' / ');
      assert.equal(entries.length, charges, `${side}, as the server has it: ${steps}`);
      assert.ok(entries.every(({ amount }) => amount === 4900));
      const [charged, amount] = await this.verdict(side);
      assert.equal(
        charged,
        ['Not charged', 'Charged once', 'Charged twice'][charges] ?? `Charged ${charges} times`,
      );
      assert.equal(amount, `$${49 * charges}.00`);
      assert.equal(await this.page.locator(`#${side} .rows li`).count(), charges);
    }
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.problems, []);
  }
}

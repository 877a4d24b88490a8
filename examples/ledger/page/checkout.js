import { IdempotencyError, forget, idempotentFetch } from '/idempotent-client/index.js';
import { brokenFetch } from './network.js';
import { PATIENCE, payment } from './server.js';

/** How often somebody presses Pay before they give up. */
const PRESSES = 3;
/** How long they look at the failure before they press again, in milliseconds. */
const HESITATION = 700;

/** What the client tells that is shown as it is. */
const SHOWN = ['joined', 'waiting'];

/** Why the client neither sends an order's key again nor takes a new one. */
const STUCK = ['key-expired', 'key-unreadable'];

/** The two checkouts that are compared. */
export const SIDES = ['protected', 'unprotected'];

/**
 * @typedef {object} Setting
 * @property {string} order what is paid for; the client keeps a key for it
 * @property {string} caller whose ledger it is
 * @property {object} breakage what goes wrong
 * @property {'session' | 'local' | 'memory'} storage where the client keeps the key
 * @property {number} attempts how many were made before a reload
 * @property {(event: object) => void} tell
 * @property {() => Promise<void>} look asks the server's ledger for new charges
 * @property {string} [stuck] why the key could not clear up what happened, before a reload
 * @property {() => Promise<boolean | undefined>} [charged] whether the server's ledger has the
 *   order; `undefined` if it cannot be asked
 */

/** A checkout, with somebody before it who presses Pay again when it fails. */
export class Checkout {
  #keyed;
  #send;
  #tell;
  #setting;
  #stuck;
  /** @type {Promise<object | undefined> | undefined} */
  #asking;
  #presses = 0;
  #underWay = 0;
  #paid;
  #done;

  /**
   * @param {'protected' | 'unprotected'} side
   * @param {Setting} setting
   * @param {(outcome: object) => void} done when no press is under way any more
   */
  constructor(side, setting, done) {
    let { attempts } = setting;
    const network = brokenFetch({ ...setting, nextAttempt: () => (attempts += 1) });
    this.#keyed = side === 'protected';
    this.#send = this.#keyed ? withKey(network, setting) : withoutKey(network, setting);
    this.#tell = setting.tell;
    this.#setting = setting;
    this.#stuck = setting.stuck;
    this.#done = done;
    this.#presses = attempts;
  }

  /** Pay is pressed, and again for as long as it fails. */
  async press() {
    this.#tellPress();
    await this.resume();
  }

  /** Goes on as if Pay had been pressed already. */
  async resume() {
    this.#underWay += 1;
    let outcome = this.#stuck && (await (this.#asking ??= this.#askLedger()));
    for (let press = 1; press <= PRESSES && !outcome?.final; press += 1) {
      if (press > 1) {
        await pause(HESITATION);
        this.#tellPress();
      }
      outcome = await this.#pay();
    }
    this.#stuck = outcome.stuck;
    this.#tell({ type: 'shown', outcome: outcome.outcome });
    if (outcome.outcome === 'paid') this.#paid = outcome;
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#done(this.#paid ?? outcome);
  }

  /**
   * What the server's ledger says, where the key cannot clear it up. Only then is the key
   * forgotten, and only if nothing was charged is it paid with a new one.
   *
   * @returns {Promise<object | undefined>} the outcome; `undefined` if it is to be paid
   */
  async #askLedger() {
    const { order, storage, charged: ask } = this.#setting;
    const charged = await ask();
    this.#tell({ type: 'looked', charged });
    if (charged !== undefined) await forget(order, { storage });
    this.#asking = undefined;
    if (charged === undefined) return { outcome: 'failed', stuck: this.#stuck, final: true };
    this.#stuck = undefined;
    return charged ? { outcome: 'paid', found: true, final: true } : undefined;
  }

  #tellPress() {
    this.#tell({ type: 'pressed', again: this.#presses > 0 });
    this.#presses += 1;
  }

  /**
   * How it ended. `final`: to press again at once would be of no use; `stuck`: why the same key
   * will never clear up what happened.
   */
  async #pay() {
    try {
      const response = await this.#send();
      if (response.ok) return { outcome: 'paid', status: response.status, final: true };
      const { reason, keyKept } = response.idempotency ?? {};
      // What the server has recorded it will repeat.
      const stuck = reason === 'recorded-failure' ? reason : undefined;
      return {
        outcome: keyKept === false ? 'refused' : 'failed',
        status: response.status,
        stuck,
        final: keyKept === false || stuck !== undefined,
      };
    } catch (error) {
      if (error instanceof IdempotencyError && STUCK.includes(error.code)) {
        return { outcome: 'failed', stuck: error.code, final: true };
      }
      // The connection broke, or patience ended. Anything else is a mistake in this page.
      if (!(error instanceof TypeError) && error?.name !== 'TimeoutError') console.error(error);
      // With a key the client has tried again already.
      return { outcome: 'failed', final: this.#keyed };
    }
  }
}

/** The checkout with a key: this is all that is needed for it. */
function withKey(network, { order, caller, storage, tell }) {
  return () =>
    idempotentFetch(order, '/payments', payment(caller), {
      fetch: network,
      storage,
      attemptTimeout: PATIENCE,
      timeout: 12_000,
      maxAttempts: 6,
      baseDelay: 500,
      maxDelay: 2000,
      onEvent: ({ type }) => SHOWN.includes(type) && tell({ type }),
    });
}

/** The same without: a request, which is given up when it takes too long. */
function withoutKey(network, { caller }) {
  return () =>
    network('/unprotected/payments', { ...payment(caller), signal: AbortSignal.timeout(PATIENCE) });
}

export function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

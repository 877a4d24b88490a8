import { idempotentFetch } from '/idempotent-client/index.js';
import { brokenFetch } from './network.js';
import { PATIENCE, payment } from './server.js';

/** How often somebody presses Pay before they give up. */
const PRESSES = 3;
/** How long they look at the failure before they press again, in milliseconds. */
const HESITATION = 700;

/** What the client tells that is shown as it is. */
const SHOWN = ['joined', 'waiting'];

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
 */

/** A checkout, with somebody before it who presses Pay again when it fails. */
export class Checkout {
  #keyed;
  #send;
  #tell;
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
    let outcome;
    for (let press = 1; press <= PRESSES; press += 1) {
      if (press > 1) {
        await pause(HESITATION);
        this.#tellPress();
      }
      outcome = await this.#pay();
      if (outcome.outcome === 'paid' || outcome.final) break;
    }
    this.#tell({ type: 'shown', outcome: outcome.outcome });
    if (outcome.outcome === 'paid') this.#paid = outcome;
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#done(this.#paid ?? outcome);
  }

  #tellPress() {
    this.#tell({ type: 'pressed', again: this.#presses > 0 });
    this.#presses += 1;
  }

  /**
   * How it ended. `recorded`: as a failure that the server keeps for this key; `final`: to press
   * again would be of no use.
   */
  async #pay() {
    try {
      const response = await this.#send();
      if (response.ok) return { outcome: 'paid', status: response.status };
      const { reason, keyKept } = response.idempotency ?? {};
      return {
        outcome: keyKept === false ? 'refused' : 'failed',
        status: response.status,
        // What the server has recorded it will repeat.
        recorded: reason === 'recorded-failure',
        final: keyKept === false || reason === 'recorded-failure',
      };
    } catch (error) {
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

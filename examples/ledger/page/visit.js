import { breakage } from './breakages.js';
import { Checkout, SIDES, pause } from './checkout.js';
import { openSecondTab } from './second-tab.js';
import { ledgerOf } from './server.js';

const REMEMBERED = 'demonstration:visit';

/**
 * A customer's visit: their orders, one after the other, each paid on both sides. All that must
 * outlive a reload is in `state`, as plain data.
 */
export class Visit {
  #session;
  #local;
  #changed;
  #checkouts = {};
  /** Ends when a second tab has paid.
   * @type {Promise<void> | undefined} */
  #elsewhere;
  #looks = 0;
  #applied = { protected: 0, unprotected: 0 };
  /** The page is about to go away: what fails from now on fails because of that. */
  #leaving = false;

  /**
   * @param {ReturnType<typeof import('./storage.js').openStorage>} session
   * @param {ReturnType<typeof import('./storage.js').openStorage>} local
   * @param {() => void} changed
   */
  constructor(session, local, changed) {
    this.#session = session;
    this.#local = local;
    this.#changed = changed;
    this.state = session.get(REMEMBERED) ?? newCustomer();
  }

  get over() {
    const { run } = this.state;
    return !run || SIDES.every((side) => run.sides[side].over);
  }

  /** Whether the next press goes on with the order that is there, since nobody knows its outcome. */
  get open() {
    const { run } = this.state;
    return Boolean(run) && !SIDES.every((side) => certain(run.sides[side]));
  }

  caller(side) {
    return `demo-${this.state.customer}-${side}`;
  }

  /** Pay is pressed. */
  press(name) {
    if (this.over && !this.open) {
      this.#order(name);
      return;
    }
    const { run } = this.state;
    for (const side of SIDES) {
      if (certain(run.sides[side])) continue;
      run.sides[side].over = false;
      void this.#checkout(side).press();
    }
    this.#change();
  }

  /** Goes on with what a reload interrupted. */
  resume() {
    const { run } = this.state;
    if (this.over) return false;
    for (const side of SIDES) {
      const { events, over } = run.sides[side];
      if (over) continue;
      if (events.at(-1)?.type !== 'reloaded') this.#tell(side, { type: 'reloaded' });
      // A checkout that keeps its key can go on by itself; the other has to wait for its customer.
      const keyed = side === 'protected';
      this.#tell(side, { type: 'resumed', keyed });
      void (keyed ? this.#checkout(side).resume() : this.#checkout(side).press());
    }
    return true;
  }

  /** Forgets everything. What is still under way is another customer's. */
  reset() {
    this.state = newCustomer();
    this.#checkouts = {};
    this.#change();
  }

  /** Asks the server what was charged. */
  async look(side) {
    const { state } = this;
    const look = (this.#looks += 1);
    let ledger = null;
    try {
      ledger = await ledgerOf(this.caller(side));
    } catch {
      // That it cannot be asked is shown in its place.
    }
    // A later one may have been answered earlier.
    if (state !== this.state || look < this.#applied[side]) return;
    this.#applied[side] = look;
    this.#apply(side, ledger);
  }

  #apply(side, ledger) {
    const { ledgers, seen } = this.state;
    ledgers[side] = ledger;
    for (const { id, amount } of ledger ?? []) {
      if (seen[side].includes(id)) continue;
      seen[side].push(id);
      this.#tell(side, { type: 'charged', id, amount });
    }
    this.#change();
  }

  #order(name) {
    const { state } = this;
    const chosen = breakage(name);
    state.orders += 1;
    state.run = {
      order: `order-${random()}`,
      breakage: chosen.name,
      started: Date.now(),
      sides: { protected: { events: [], over: false }, unprotected: { events: [], over: false } },
    };
    this.#checkouts = {};
    this.#elsewhere = undefined;
    if (chosen.secondTab) {
      // At once: a browser opens a tab only for a press.
      this.#payInTwoTabs();
    } else {
      for (let press = 0; press < (chosen.presses ?? 1); press += 1) {
        for (const side of SIDES) void this.#checkout(side).press();
      }
      if (chosen.reloads) void this.#reloadWhenCharged();
    }
    this.#change();
  }

  #checkout(side) {
    return (this.#checkouts[side] ??= this.#newCheckout(side));
  }

  #newCheckout(side) {
    const { run } = this.state;
    const chosen = breakage(run.breakage);
    const part = run.sides[side];
    const setting = {
      order: run.order,
      caller: this.caller(side),
      breakage: chosen,
      storage: this.#keyStorage(chosen),
      attempts: part.events.filter(({ type, tab }) => type === 'sent' && tab !== 2).length,
      tell: (event) => this.#tellOf(run, side, event),
      look: () => this.look(side),
      stuck: part.stuck,
      charged: async () => {
        await this.look(side);
        const { ledgers } = this.state;
        if (run !== this.state.run || !ledgers[side]) return undefined;
        return part.events.some(({ type }) => type === 'charged');
      },
    };
    return new Checkout(side, setting, (outcome) => this.#finish(run, side, outcome));
  }

  #keyStorage({ secondTab }) {
    if (secondTab) return 'local';
    return this.#session.blocked ? 'memory' : 'session';
  }

  async #finish(run, side, outcome) {
    if (run !== this.state.run || this.#leaving) return;
    await this.#elsewhere;
    if (run !== this.state.run) return;
    await this.look(side);
    const keyed = side === 'protected';
    const { status, stuck, found = false } = outcome;
    Object.assign(run.sides[side], {
      over: true,
      keyed,
      outcome: outcome.outcome,
      status,
      stuck,
      found,
    });
    this.#change();
  }

  /** In the middle: the payment is made, and its answer is under way. */
  async #reloadWhenCharged() {
    const { run } = this.state;
    const charged = (side) => run.sides[side].events.some(({ type }) => type === 'charged');
    while (!SIDES.every(charged)) {
      await pause(50);
      if (run !== this.state.run || this.over) return;
    }
    for (const side of SIDES) this.#tell(side, { type: 'reloaded' });
    this.#leaving = true;
    location.reload();
  }

  #payInTwoTabs() {
    const { run, customer } = this.state;
    const setting = { order: run.order, breakage: run.breakage, customer };
    const second = openSecondTab(this.#local, setting, {
      tell: (side, event) => this.#tellOf(run, side, { ...event, tab: 2 }),
      ledger: (side, ledger) => run === this.state.run && this.#apply(side, ledger),
    });
    this.#elsewhere = second.over;
    second.ready.then((came) => {
      if (run !== this.state.run) return;
      for (const side of SIDES) {
        if (!came) this.#tell(side, { type: 'alone' });
        void this.#checkout(side).press();
      }
    });
  }

  #tell(side, event) {
    this.#tellOf(this.state.run, side, event);
  }

  #tellOf(run, side, event) {
    if (run !== this.state.run || this.#leaving) return;
    run.sides[side].events.push({ at: Date.now(), ...event });
    this.#change();
  }

  #change() {
    this.#session.set(REMEMBERED, this.state);
    this.#changed();
  }
}

function newCustomer() {
  return {
    customer: random(),
    orders: 0,
    run: null,
    ledgers: { protected: [], unprotected: [] },
    seen: { protected: [], unprotected: [] },
  };
}

/** Whether it is known how a side ended, so that pressing Pay again would be another order. */
function certain({ over, outcome }) {
  return over && (outcome === 'paid' || outcome === 'refused');
}

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

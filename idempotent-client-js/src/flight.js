/**
 * One operation that is under way, and the callers who wait for it. A caller who goes away gives
 * up only its own wait; when the last has gone, the operation is aborted.
 *
 * @template T
 */
export class Flight {
  #controller = new AbortController();
  /** @type {Set<Waiter<T>>} */
  #waiters = new Set();

  /** @param {unknown} request what later callers' requests are compared with */
  constructor(request) {
    this.request = request;
    /** Whether further callers may join. */
    this.open = true;
    /** Whether the application gave the key up meanwhile: then nothing more is stored of it. */
    this.forgotten = false;
    /** Resolves when nothing more is done for it. @type {Promise<void>} */
    this.ended = Promise.resolve();
  }

  /** Aborted when nobody waits any more, or by `abort`. */
  get signal() {
    return this.#controller.signal;
  }

  /** @param {unknown} reason */
  abort(reason) {
    this.open = false;
    this.#controller.abort(reason);
  }

  /** Whether everybody has gone away, and was told that the key is kept. */
  get abandoned() {
    return this.#waiters.size === 0;
  }

  /**
   * From now on all who wait are told the outcome: who would go away after the key was given up
   * must not believe that it is kept.
   *
   * @returns {boolean} whether anybody waits
   */
  commit() {
    for (const waiter of this.#waiters) waiter.commit();
    return !this.abandoned;
  }

  /**
   * @param {Promise<Landing<T>>} operation
   * @param {Promise<void>} previous another flight's end, before which this one's does not count
   * @returns {Promise<void>} resolves, and never rejects, when all who wait were told of its end
   */
  begin(operation, previous) {
    const told = operation
      .then((landing) => this.#land(landing))
      .catch((error) => {
        this.open = false;
        for (const waiter of this.#waiters) waiter.fail(error);
      });
    this.ended = told.then(() => previous);
    return this.ended;
  }

  /**
   * @param {(AbortSignal | null | undefined)[]} signals that end this caller's wait
   * @returns {{ outcome: Promise<T>, leave: (reason: unknown) => void }}
   */
  join(signals) {
    /** @type {(reason: unknown) => void} */
    let leave = () => {};
    const outcome = /** @type {Promise<T>} */ (
      new Promise((resolve, reject) => {
        const waiter = new Waiter(resolve, reject, signals, (reason) => this.#left(waiter, reason));
        leave = waiter.leave;
        this.#waiters.add(waiter);
      })
    );
    return { outcome, leave };
  }

  /** @param {Landing<T>} landing */
  #land({ share, streaming }) {
    this.open = false;
    const waiters = [...this.#waiters];
    const shares = share(waiters.length);
    // Nothing is left to abort, unless bodies are still being received.
    if (!streaming) this.#waiters.clear();
    waiters.forEach((waiter, at) => waiter.give(shares[at], streaming));
  }

  /** @param {Waiter<T>} waiter @param {unknown} reason */
  #left(waiter, reason) {
    if (this.#waiters.delete(waiter) && this.#waiters.size === 0) this.abort(reason);
  }
}

/**
 * How an operation ends.
 *
 * @template T
 * @typedef {object} Landing
 * @property {(callers: number) => T[]} share one result for each caller
 * @property {boolean} streaming whether results are still being received, so that callers may
 *   still abort them
 */

/** @template T */
class Waiter {
  #resolve;
  #reject;
  #signals;
  #attached = false;

  /**
   * @param {(value: T) => void} resolve
   * @param {(reason: unknown) => void} reject
   * @param {(AbortSignal | null | undefined)[]} signals
   * @param {(reason: unknown) => void} left
   */
  constructor(resolve, reject, signals, left) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signals = /** @type {AbortSignal[]} */ (signals.filter(Boolean));
    /** @param {unknown} reason */
    this.leave = (reason) => {
      this.#detach();
      reject(reason);
      left(reason);
    };
    this.#attach();
  }

  commit() {
    this.#detach();
  }

  /** @param {Event} event */
  #onAbort = (event) => this.leave(/** @type {AbortSignal} */ (event.target).reason);

  /** @param {T} value @param {boolean} streaming */
  give(value, streaming) {
    this.#detach();
    this.#resolve(value);
    if (!streaming) return;
    this.#attach();
    const aborted = this.#signals.find((signal) => signal.aborted);
    if (aborted) this.leave(aborted.reason);
  }

  /** @param {unknown} error */
  fail(error) {
    this.#detach();
    this.#reject(error);
  }

  #attach() {
    this.#attached = true;
    for (const signal of this.#signals) signal.addEventListener('abort', this.#onAbort);
  }

  #detach() {
    if (!this.#attached) return;
    this.#attached = false;
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort);
  }
}

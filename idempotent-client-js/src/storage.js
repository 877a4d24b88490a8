import { IdempotencyError } from './errors.js';

/** Before the action's name in a store, so that nothing of the application's is met. */
const PREFIX = 'idempotent-client:';

/**
 * A store behind which stands the page's memory: what the store does not take is kept there, so
 * that a blocked or full store costs no more than what a reload forgets.
 *
 * What a caller's own store cannot tell is another matter: it may have a key that was sent, so a
 * read that fails is an error. The browser's own are blocked for good, or not at all.
 */
export class Storage {
  /** What the store did not take: a text, or `null` for one that it did not delete.
   * @type {Map<string, string | null>} */
  #memory = new Map();
  #store;
  #own;
  #names;
  /** When what is there of other actions was looked through, in milliseconds since 1970. */
  swept = -Infinity;

  /**
   * @param {import('./index.js').KeyStore} store
   * @param {{ shared: boolean, own?: boolean, names?: () => Iterable<string> }} kind `shared`:
   *   whether other tabs see it; `own`: whether it is the caller's; `names`: of all that is in it
   */
  constructor(store, { shared, own = false, names = () => [] }) {
    this.#store = store;
    this.#own = own;
    this.#names = names;
    this.shared = shared;
  }

  /**
   * @param {string} action
   * @param {Report} report
   * @returns {Promise<unknown>} what is stored, or `undefined` or `null`
   * @throws {IdempotencyError} if a caller's own store fails
   */
  async read(action, report) {
    const kept = this.#memory.get(action);
    if (kept !== undefined) return kept;
    try {
      return await this.#store.get(PREFIX + action);
    } catch (error) {
      report('get', error);
      if (!this.#own) return undefined;
      throw new IdempotencyError(
        'storage-failed',
        `the store cannot tell whether "${action}" has a key already, so nothing was sent: call again when it works`,
        { cause: error },
      );
    }
  }

  /**
   * @param {string} action
   * @param {string} text
   * @param {Report} report
   */
  async write(action, text, report) {
    try {
      await this.#store.set(PREFIX + action, text);
      this.#memory.delete(action);
    } catch (error) {
      this.#memory.set(action, text);
      report('set', error);
    }
  }

  /** The actions of which something is stored. A caller's own store cannot tell. */
  actions() {
    const stored = this.#list().filter((name) => name.startsWith(PREFIX));
    return new Set([...stored.map((name) => name.slice(PREFIX.length)), ...this.#memory.keys()]);
  }

  #list() {
    try {
      return [...this.#names()];
    } catch {
      return []; // It is blocked.
    }
  }

  /**
   * @param {string} action
   * @param {Report} report
   */
  async remove(action, report) {
    try {
      await this.#store.delete(PREFIX + action);
      this.#memory.delete(action);
    } catch (error) {
      // The browser's own, if it is blocked, has nothing that would have to be hidden.
      if (await this.#isThere(action)) this.#memory.set(action, null);
      else this.#memory.delete(action);
      report('delete', error);
    }
  }

  /** @param {string} action */
  async #isThere(action) {
    try {
      return ((await this.#store.get(PREFIX + action)) ?? undefined) !== undefined;
    } catch {
      return this.#own;
    }
  }
}

/** @typedef {(operation: 'get' | 'set' | 'delete', error: unknown) => void} Report */

/** @type {Record<string, Storage>} */
const named = {
  session: new Storage(web('sessionStorage'), { shared: false, names: namesIn('sessionStorage') }),
  local: new Storage(web('localStorage'), { shared: true, names: namesIn('localStorage') }),
  memory: inMemory(new Map()),
};

/** @param {Map<string, string>} store */
function inMemory(store) {
  return new Storage(store, { shared: false, names: () => store.keys() });
}

/** @type {WeakMap<object, Storage>} */
const own = new WeakMap();

/**
 * The same one for the same option each time, since calls in flight are found by it.
 *
 * @param {import('./index.js').Options['storage']} option
 * @returns {Storage}
 */
export function openStorage(option = 'session') {
  if (typeof option === 'string' && Object.hasOwn(named, option)) return named[option];
  const methods = /** @type {const} */ (['get', 'set', 'delete']);
  if (typeof option !== 'object' || !methods.every((name) => typeof option?.[name] === 'function')) {
    throw new IdempotencyError(
      'option-invalid',
      'storage must be "session", "local", "memory", or an object with get, set and delete',
    );
  }
  let storage = own.get(option);
  if (!storage) own.set(option, (storage = new Storage(option, { shared: true, own: true })));
  return storage;
}

/**
 * The property is read at each use: where storage is blocked, reading it throws.
 *
 * @param {'sessionStorage' | 'localStorage'} name
 * @returns {import('./index.js').KeyStore}
 */
function web(name) {
  const storage = () => {
    const found = globalThis[name];
    if (!found) throw new Error(`there is no ${name} here`);
    return found;
  };
  return {
    get: (key) => storage().getItem(key),
    set: (key, text) => storage().setItem(key, text),
    delete: (key) => storage().removeItem(key),
  };
}

/** @param {'sessionStorage' | 'localStorage'} name */
function namesIn(name) {
  return () => {
    const storage = globalThis[name];
    const names = Array.from({ length: storage.length }, (_, at) => storage.key(at));
    return /** @type {string[]} */ (names);
  };
}

/** The longest delay that `setTimeout` knows; a longer one would end at once. */
const LONGEST = 2 ** 31 - 1;

/**
 * Waits for `promise`, or until the signal is aborted: then rejects with the signal's reason.
 * Leaves no listener behind, and no rejection unhandled.
 *
 * @template T
 * @param {PromiseLike<T> | T} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    const done = () => signal.removeEventListener('abort', abort);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    Promise.resolve(promise).then(resolve, reject).then(done);
  });
}

/**
 * Calls `expire` after `delay` milliseconds, unless the function that is returned is called first.
 *
 * @param {number} delay in milliseconds; `Infinity` for never
 * @param {() => void} expire
 * @returns {() => void}
 */
export function timer(delay, expire) {
  if (delay > LONGEST) return () => {};
  const handle = setTimeout(expire, Math.max(0, delay));
  return () => clearTimeout(handle);
}

/**
 * @param {number} delay in milliseconds
 * @param {AbortSignal} signal ends the wait, with its reason
 * @returns {Promise<void>}
 */
export function sleep(delay, signal) {
  /** @type {() => void} */
  let cancel = () => {};
  const slept = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      cancel = timer(delay, resolve);
    })
  );
  return unlessAborted(slept, signal).finally(() => cancel());
}

/**
 * What `AbortSignal.timeout` gives as its reason, with a message that says more.
 *
 * @param {string} message
 */
export function timeoutError(message) {
  return new DOMException(message, 'TimeoutError');
}

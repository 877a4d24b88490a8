import { entryFor, giveUp, putBack, save, unexpired } from './keeping.js';
import { alone } from './locks.js';
import { classify } from './outcome.js';
import { delayBefore, retryAfter } from './retry.js';
import { timeoutError, timer, unlessAborted } from './time.js';

/**
 * A way to send a request, such as `fetch`.
 *
 * @template T
 * @typedef {object} Exchange
 * @property {(key: string, signal: AbortSignal) => Promise<Received<T>>} send rejects when there
 *   was no answer
 * @property {(error: unknown) => boolean} hopeless whether such an error would only come again
 * @property {(received: Received<T>, info: import('./index.js').IdempotencyInfo, callers: number) => any[]} share
 *   one result for each caller; may throw what callers are to be rejected with
 * @property {(received: Received<T>) => void} discard lets go of a body that nobody will read
 */

/**
 * @template T
 * @typedef {object} Received
 * @property {import('./outcome.js').Answer} answer
 * @property {boolean} uncertain whether more than one request was sent, and one before the answered
 *   one may have had an effect that is not known
 * @property {string | null | undefined} retryAfter the header
 * @property {boolean} streaming whether the body is still being received
 * @property {T} value
 */

/** @typedef {(type: string, details?: Record<string, unknown>) => void} Emit */

/**
 * @typedef {object} Operation
 * @property {string} action
 * @property {string | undefined} callerKey
 * @property {number} began when it was called for, in milliseconds since 1970
 * @property {import('./storage.js').Storage} storage
 * @property {import('./options.js').Settings} settings
 * @property {import('./flight.js').Flight<any>} flight
 * @property {Promise<void>} previous resolves when the page's last one for this action has ended
 * @property {Emit} emit
 * @property {import('./storage.js').Report} report
 */

/**
 * Sends a request until its outcome is known, or it is time to stop.
 *
 * @template T
 * @param {Operation} operation
 * @param {Exchange<T>} exchange
 * @returns {Promise<import('./flight.js').Landing<any>>}
 */
export async function run(operation, exchange) {
  const { action, storage, settings, flight, emit } = operation;
  const started = settings.elapsed();
  const remaining = () => settings.timeout - (settings.elapsed() - started);
  const stopTimer = timer(settings.timeout, () =>
    flight.abort(timeoutError(`no certain outcome of "${action}" within ${settings.timeout} ms`)),
  );
  try {
    await unlessAborted(operation.previous, flight.signal);
    const work = () => attempts(operation, exchange, remaining);
    if (!storage.shared) return await work();
    return await alone(action, flight.signal, () => emit('waiting'), work);
  } finally {
    stopTimer();
  }
}

/**
 * @template T
 * @param {Operation} operation
 * @param {Exchange<T>} exchange
 * @param {() => number} remaining milliseconds
 * @returns {Promise<import('./flight.js').Landing<any>>}
 */
async function attempts(operation, exchange, remaining) {
  const { settings, flight, emit } = operation;
  let entry = await unlessAborted(entryFor(operation), flight.signal);
  for (let attempt = 1; ; attempt += 1) {
    if (attempt > 1) entry = unexpired(operation, entry);
    const { key } = entry;
    // Stored before it is sent, so that it is known whatever happens to this page.
    await keptIfAborted(operation, key, save(operation, { ...entry, uncertain: true }));
    emit('attempt', { key, attempt });
    const { received, error, verdict } = await sendOnce(operation, exchange, entry, attempt);
    entry.uncertain = verdict.uncertain;
    const keyKept = verdict.then !== 'give-up' || !(await givenUp(operation, entry));
    if (verdict.then !== 'give-up' && !entry.uncertain) {
      await settled(save(operation, entry), flight.signal);
    }

    const delay =
      verdict.then === 'retry'
        ? delayAfter(received?.retryAfter, attempt, settings, remaining())
        : undefined;
    if (delay !== undefined) {
      if (received?.streaming) exchange.discard(received);
      emit('retry', { key, attempt: attempt + 1, delay, reason: verdict.reason });
      await keptIfAborted(operation, key, settings.sleep(delay, flight.signal));
      continue;
    }
    emit(keyKept ? 'kept' : 'given-up', { key, reason: verdict.reason });
    if (!received) throw error;
    const { replayed, code } = received.answer;
    const info = {
      action: operation.action,
      key,
      attempts: attempt,
      replayed,
      code: code ?? undefined,
      keyKept,
      reason: verdict.reason,
    };
    return {
      share: (callers) => exchange.share(received, info, callers),
      streaming: received.streaming,
    };
  }
}

/**
 * @template T
 * @param {Operation} operation
 * @param {Exchange<T>} exchange
 * @param {import('./entry.js').Entry} entry
 * @param {number} attempt
 * @returns {Promise<{
 *   received?: Received<T>,
 *   error?: unknown,
 *   verdict: Pick<import('./outcome.js').Verdict, 'then' | 'uncertain'> & { reason: any },
 * }>}
 */
async function sendOnce(operation, exchange, { key, uncertain }, attempt) {
  const { settings, flight, emit } = operation;
  try {
    const received = await keptIfAborted(
      operation,
      key,
      withinTime(settings.attemptTimeout, flight.signal, (signal) => exchange.send(key, signal)),
    );
    const { status, code, replayed } = received.answer;
    const verdict = classify(received.answer, uncertain || received.uncertain);
    emit('response', { key, attempt, status, code, replayed, reason: verdict.reason });
    if (replayed) emit('replayed', { key, attempt, status });
    return { received, verdict };
  } catch (error) {
    if (flight.signal.aborted) throw error;
    const reason = isTimeout(error) ? 'timeout' : 'network';
    emit('failed', { key, attempt, error, reason });
    const then = exchange.hopeless(error) ? 'keep' : 'retry';
    return { error, verdict: { then, reason, uncertain: true } };
  }
}

/**
 * @template T
 * @param {number} limit milliseconds
 * @param {AbortSignal} outer
 * @param {(signal: AbortSignal) => Promise<T>} send
 * @returns {Promise<T>}
 */
async function withinTime(limit, outer, send) {
  const controller = new AbortController();
  const stopTimer = timer(limit, () =>
    controller.abort(timeoutError(`no answer within ${limit} ms`)),
  );
  // Not taken off: a body that is still being received is aborted by it, and it ends with the
  // operation's own signal.
  outer.addEventListener('abort', () => controller.abort(outer.reason), { once: true });
  try {
    outer.throwIfAborted();
    return await unlessAborted(send(controller.signal), controller.signal);
  } finally {
    stopTimer();
  }
}

/**
 * @template T
 * @param {Operation} operation
 * @param {string} key
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function keptIfAborted({ flight: { signal }, emit }, key, promise) {
  try {
    return await unlessAborted(promise, signal);
  } catch (error) {
    if (signal.aborted) emit('kept', { key, reason: isTimeout(error) ? 'timeout' : 'aborted' });
    throw error;
  }
}

/**
 * Gives the key up, if there is anybody to be told of the outcome: who went away believes that the
 * key is kept, and so it is.
 *
 * @param {Operation} operation
 * @param {import('./entry.js').Entry} entry
 * @returns {Promise<boolean>} `false` if the store did not let it
 */
async function givenUp(operation, entry) {
  const { flight, emit } = operation;
  let gone = Promise.resolve();
  if (!flight.abandoned) {
    gone = giveUp(operation, entry);
    try {
      await unlessAborted(gone, flight.signal);
    } catch {
      // What was answered is told in any case, even if a store needs too long.
      if (!flight.signal.aborted) return false;
    }
  }
  if (flight.commit()) return true;
  emit('kept', { key: entry.key, reason: 'aborted' });
  await gone.catch(() => {});
  await putBack(operation, entry);
  throw flight.signal.reason;
}

/**
 * @param {Promise<unknown>} promise
 * @param {AbortSignal} signal
 */
async function settled(promise, signal) {
  await unlessAborted(promise, signal).catch(() => {});
}

/**
 * @param {string | null | undefined} header
 * @param {number} attempt
 * @param {import('./options.js').Settings} settings
 * @param {number} remaining milliseconds
 * @returns {number | undefined} milliseconds; `undefined` if there is no time for another attempt
 */
function delayAfter(header, attempt, settings, remaining) {
  if (attempt >= settings.maxAttempts) return undefined;
  const asked = retryAfter(header, settings.now());
  const delay = delayBefore({ attempt, asked, ...settings });
  return delay < remaining ? delay : undefined;
}

/** @param {any} error that of a timer here, of a signal of the caller's, or of axios */
function isTimeout(error) {
  return error?.name === 'TimeoutError' || /^(ECONNABORTED|ETIMEDOUT)$/.test(error?.code);
}

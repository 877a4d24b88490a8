import { IdempotencyError } from './errors.js';
import { Flight } from './flight.js';
import { settingsFrom } from './options.js';
import { run } from './run.js';
import { openStorage } from './storage.js';
import { sweep } from './sweep.js';

/** @type {WeakMap<import('./storage.js').Storage, Map<string, Flight<any>>>} */
const flights = new WeakMap();

/** @param {import('./storage.js').Storage} storage */
export function flightsOf(storage) {
  let found = flights.get(storage);
  if (!found) flights.set(storage, (found = new Map()));
  return found;
}

/**
 * Starts an operation, or joins the one that is under way for the same action.
 *
 * Up to its first `await` all of it happens at once, so that no second call can come between.
 *
 * @template T
 * @template R
 * @param {object} parameters
 * @param {string} parameters.action
 * @param {import('./index.js').Options} parameters.options
 * @param {(AbortSignal | null | undefined)[]} parameters.signals
 * @param {R} parameters.request
 * @param {string | undefined} parameters.callerKey
 * @param {(one: R, other: R) => Promise<string | undefined>} parameters.difference
 * @param {import('./run.js').Exchange<T>} parameters.exchange
 * @returns {Promise<any>}
 */
export async function start({ action, options, signals, request, callerKey, difference, exchange }) {
  checkAction(action);
  const settings = settingsFrom(options);
  const storage = openStorage(options.storage);
  for (const signal of signals) if (signal?.aborted) throw signal.reason;

  const all = flightsOf(storage);
  const current = all.get(action);
  const emit = emitter(action, settings);
  if (current?.open) {
    emit('joined');
    const { outcome, leave } = current.join(signals);
    const [result] = await Promise.all([outcome, compared(current, request, difference, leave)]);
    return result;
  }

  /** @type {Flight<any>} */
  const flight = new Flight(request);
  const { outcome } = flight.join(signals);
  const operation = {
    action,
    callerKey,
    began: settings.now(),
    storage,
    settings,
    flight,
    // One that was given up may still have to put its key back.
    previous: current?.ended ?? Promise.resolve(),
    emit,
    report: reporter(emit),
  };
  // Nothing throws from here on: what is in the map has begun, and is taken out when it ends.
  all.set(action, flight);
  flight.begin(run(operation, exchange), operation.previous).then(() => {
    if (all.get(action) === flight) all.delete(action);
    return sweep(storage, settings, (other) => all.has(other));
  });
  return outcome;
}

/** @param {unknown} action */
export function checkAction(action) {
  if (typeof action === 'string' && action !== '') return;
  throw new IdempotencyError(
    'action-invalid',
    'the action must be a string that names one thing the user wants done, such as "checkout-4711"',
  );
}

/**
 * @param {Flight<any>} flight
 * @param {any} request
 * @param {(one: any, other: any) => Promise<string | undefined>} difference
 * @param {(reason: unknown) => void} leave
 */
async function compared(flight, request, difference, leave) {
  const what = await difference(flight.request, request);
  if (what === undefined) return;
  const error = new IdempotencyError(
    'different-request',
    `the action is under way with another ${what}: one action is one request, so give another thing another name`,
  );
  leave(error);
  throw error;
}

/**
 * @param {string} action
 * @param {import('./options.js').Settings} settings
 * @returns {import('./run.js').Emit}
 */
export function emitter(action, { onEvent, now }) {
  return (type, details) => {
    try {
      onEvent({ type, action, time: now(), ...details });
    } catch (error) {
      // An observer's mistake is no reason not to pay, nor to pay twice.
      console.error(error);
    }
  };
}

/**
 * @param {import('./run.js').Emit} emit
 * @returns {import('./storage.js').Report} tells of a store that fails, once
 */
export function reporter(emit) {
  let told = false;
  return (during, error) => {
    if (told) return;
    told = true;
    emit('storage-unavailable', { during, error });
  };
}

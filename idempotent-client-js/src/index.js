import { IdempotencyError } from './errors.js';
import { fetchExchange } from './fetch.js';
import { found } from './keeping.js';
import { settingsFrom } from './options.js';
import { difference, repeatable } from './request.js';
import { checkAction, emitter, flightsOf, reporter, start } from './start.js';
import { openStorage } from './storage.js';

export { IdempotencyError };

/** @type {typeof import('./index.js').idempotentFetch} */
export async function idempotentFetch(action, url, init = {}, options = {}) {
  checkAction(action);
  const request = repeatable(url, init);
  return start({
    action,
    options,
    signals: [init.signal, options.signal],
    request,
    callerKey: request.key,
    difference,
    exchange: fetchExchange(request, options.fetch),
  });
}

/** @type {typeof import('./index.js').forget} */
export async function forget(action, options = {}) {
  checkAction(action);
  const emit = emitter(action, settingsFrom(options));
  const storage = openStorage(options.storage);
  const flights = flightsOf(storage);
  const flight = flights.get(action);
  if (flight) {
    flight.open = false;
    flight.forgotten = true;
    flights.delete(action);
  }
  await storage.remove(action, reporter(emit));
  emit('given-up', { reason: 'forgotten' });
}

/** @type {typeof import('./index.js').pending} */
export async function pending(action, options = {}) {
  checkAction(action);
  const settings = settingsFrom(options);
  const emit = emitter(action, settings);
  const now = settings.now();
  const text = await openStorage(options.storage).read(action, reporter(emit));
  return found(text, { now, ttl: settings.ttl, began: Infinity }, emit);
}

/** @type {typeof import('./index.js').createClient} */
export function createClient(defaults = {}) {
  return {
    fetch: (action, url, init, options) =>
      idempotentFetch(action, url, init, { ...defaults, ...options }),
    forget: (action, options) => forget(action, { ...defaults, ...options }),
    pending: (action, options) => pending(action, { ...defaults, ...options }),
  };
}

import { IdempotencyError } from './errors.js';
import { sleep } from './time.js';

const HOUR = 3_600_000;

/** What holds when a caller says nothing else. Times are in milliseconds. */
const DEFAULTS = {
  maxAttempts: 8,
  timeout: 60_000,
  attemptTimeout: 15_000,
  baseDelay: 300,
  maxDelay: 10_000,
  // Below the 24 h for which servers keep a record by default, so that no key outlives its record.
  ttl: 23 * HOUR,
};

/**
 * @typedef {typeof DEFAULTS & {
 *   onEvent: (event: any) => void,
 *   random: () => number,
 *   now: () => number,
 *   elapsed: () => number,
 *   sleep: (delay: number, signal: AbortSignal) => Promise<void>,
 * }} Settings
 */

/**
 * @param {import('./index.js').Options} options
 * @returns {Settings}
 */
export function settingsFrom(options) {
  const settings = {
    ...DEFAULTS,
    onEvent: options.onEvent ?? (() => {}),
    random: options.random ?? Math.random,
    now: options.now ?? Date.now,
    // A wall clock may be set back while an operation is under way; this one may not.
    elapsed: options.now ?? (() => performance.now()),
    sleep: options.sleep ?? sleep,
  };
  for (const name of /** @type {(keyof typeof DEFAULTS)[]} */ (Object.keys(DEFAULTS))) {
    const value = options[name];
    if (value === undefined) continue;
    const least = name === 'maxAttempts' ? 1 : 0;
    if (typeof value !== 'number' || !(value >= least)) {
      throw new IdempotencyError('option-invalid', `${name} must be a number of at least ${least}`);
    }
    settings[name] = value;
  }
  for (const name of /** @type {const} */ (['onEvent', 'random', 'now', 'sleep'])) {
    if (typeof settings[name] !== 'function') {
      throw new IdempotencyError('option-invalid', `${name} must be a function`);
    }
  }
  return settings;
}

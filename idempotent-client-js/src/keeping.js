import { decode, encode } from './entry.js';
import { IdempotencyError } from './errors.js';
import { othersWait } from './locks.js';
import { newKey } from './keys.js';

/** @typedef {import('./entry.js').Entry} Entry */
/** @typedef {import('./run.js').Operation} Operation */

/**
 * The entry to go on with: the stored one, or a new one, which is not stored yet.
 *
 * @param {Operation} operation
 * @returns {Promise<Entry>}
 * @throws {IdempotencyError} if what is stored can neither be used nor be replaced
 */
export async function entryFor({ action, storage, settings, began, callerKey, emit, report }) {
  const now = settings.now();
  const text = await storage.read(action, report);
  let stored = found(text, { now, ttl: settings.ttl, began }, emit);
  if (stored?.key !== undefined && callerKey !== undefined && stored.key !== callerKey) {
    emit('given-up', { key: stored.key, reason: 'replaced' });
    stored = undefined;
  }
  if (stored?.refused) {
    emit('entry-refused', { reason: stored.refused, key: stored.key });
    throw refusal(action, stored.refused);
  }
  if (!stored) return newEntry({ settings, callerKey, emit });
  const entry = /** @type {Entry} */ (stored);
  emit('key', { key: entry.key, origin: 'stored', uncertain: entry.uncertain });
  return entry;
}

/**
 * @param {Pick<Operation, 'settings' | 'callerKey' | 'emit'>} operation
 * @returns {Entry}
 */
function newEntry({ settings, callerKey, emit }) {
  const key = callerKey ?? newKey();
  // A key that the caller makes may have been sent before: it is made again after a crash.
  const uncertain = callerKey !== undefined;
  emit('key', { key, origin: uncertain ? 'caller' : 'new', uncertain });
  return { key, created: settings.now(), uncertain };
}

/**
 * The entry to go on with before a further attempt. The clock that time-outs are measured with
 * stands still while a machine sleeps, so between two attempts days may pass.
 *
 * @param {Operation} operation
 * @param {Entry} entry
 * @returns {Entry}
 * @throws {IdempotencyError} if it has become too old, and can not be replaced
 */
export function unexpired(operation, entry) {
  const { action, settings, emit } = operation;
  const { key, uncertain } = entry;
  if (!isExpired(entry, settings.now(), settings.ttl)) return entry;
  if (uncertain) {
    emit('kept', { key, reason: 'expired' });
    throw refusal(action, 'key-expired');
  }
  emit('entry-ignored', { reason: 'expired', key });
  return newEntry(operation);
}

/**
 * What is stored of an action, unless it is nothing any more.
 *
 * A key that is too old, or that cannot be read, is no reason for a new one as long as a request
 * with it may have had an effect: a new key would be a second payment. So it is `refused`.
 *
 * @param {unknown} text
 * @param {{ now: number, ttl: number, began: number }} time
 * @param {import('./run.js').Emit} emit
 * @returns {import('./index.js').PendingAction | undefined}
 */
export function found(text, { now, ttl, began }, emit) {
  if (text === undefined || text === null) return undefined;
  const entry = decode(text);
  if (!entry) return { key: undefined, created: undefined, uncertain: true, refused: 'key-unreadable' };
  const { finished, key } = entry;
  // Another tab's operation that ended while this call waited for it is this call's too, like
  // that of a call which is joined in one page.
  if (finished !== undefined && finished < began) return undefined;
  const uncertain = entry.uncertain || finished !== undefined;
  // A clock that was set back must not make an entry last longer.
  const created = Math.min(entry.created, now);
  if (!isExpired(entry, now, ttl)) return { key, created, uncertain };
  if (uncertain) return { key, created, uncertain, refused: 'key-expired' };
  emit('entry-ignored', { reason: 'expired', key });
  return undefined;
}

/**
 * @param {Pick<Entry, 'created'>} entry
 * @param {number} now
 * @param {number} ttl
 */
function isExpired({ created }, now, ttl) {
  return now - created >= ttl;
}

/**
 * @param {string} action
 * @param {'key-expired' | 'key-unreadable'} code
 */
function refusal(action, code) {
  const what =
    code === 'key-expired'
      ? `the key of "${action}" is too old to be sent again: the server may have forgotten it`
      : `what is stored of "${action}" cannot be read, so its key is lost`;
  return new IdempotencyError(
    code,
    `${what}. Whether it was done is not known: find out what happened, then forget() it`,
  );
}

/**
 * @param {Operation} operation
 * @param {Entry} entry
 */
export async function save({ action, storage, flight, report }, entry) {
  if (!flight.forgotten) await storage.write(action, encode(entry), report);
}

/**
 * Gives the key up, unless the entry that is stored by now is another one's.
 *
 * @param {Operation} operation
 * @param {Entry} entry
 */
export async function giveUp({ action, storage, settings, flight, report }, entry) {
  if (flight.forgotten) return;
  const stored = decode(await storage.read(action, report));
  if (stored && stored.key !== entry.key) return;
  if (storage.shared && (await othersWait(action))) {
    const finished = { ...entry, uncertain: false, finished: settings.now() };
    await storage.write(action, encode(finished), report);
  } else {
    await storage.remove(action, report);
  }
}

/**
 * Undoes `giveUp`.
 *
 * @param {Operation} operation
 * @param {Entry} entry
 */
export async function putBack(operation, entry) {
  const { action, storage, report } = operation;
  const stored = decode(await storage.read(action, report));
  if (!stored || stored.key === entry.key) await save(operation, { ...entry, uncertain: true });
}

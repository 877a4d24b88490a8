import { decode, encode } from './entry.js';
import { othersWait } from './locks.js';
import { newKey } from './keys.js';

/** @typedef {import('./entry.js').Entry} Entry */
/** @typedef {import('./run.js').Operation} Operation */

/**
 * The entry to go on with: the stored one, or a new one, which is not stored yet.
 *
 * @param {Operation} operation
 * @returns {Promise<Entry>}
 */
export async function entryFor({ action, storage, settings, began, callerKey, emit, report }) {
  const now = settings.now();
  const text = await storage.read(action, report);
  let stored = usable(text, { now, ttl: settings.ttl, began }, emit);
  if (stored && callerKey !== undefined && stored.key !== callerKey) {
    emit('given-up', { key: stored.key, reason: 'replaced' });
    stored = undefined;
  }
  const entry = stored ?? { key: callerKey ?? newKey(), created: now, uncertain: false };
  const origin = stored ? 'stored' : callerKey === undefined ? 'new' : 'caller';
  emit('key', { key: entry.key, origin, uncertain: entry.uncertain });
  return entry;
}

/**
 * @param {unknown} text
 * @param {{ now: number, ttl: number, began: number }} time
 * @param {import('./run.js').Emit} emit
 * @returns {Entry | undefined}
 */
export function usable(text, { now, ttl, began }, emit) {
  if (text === undefined || text === null) return undefined;
  const entry = decode(text);
  if (!entry) {
    emit('entry-ignored', { reason: 'corrupted' });
    return undefined;
  }
  if (now - entry.created >= ttl) {
    emit('entry-ignored', { reason: 'expired', key: entry.key, uncertain: entry.uncertain });
    return undefined;
  }
  const { finished, key, uncertain } = entry;
  // Another tab's operation that ended while this call waited for it is this call's too, like
  // that of a call which is joined in one page.
  if (finished !== undefined && finished < began) return undefined;
  // A clock that was set back must not make an entry last longer.
  const created = Math.min(entry.created, now);
  return { key, created, uncertain: uncertain || finished !== undefined };
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

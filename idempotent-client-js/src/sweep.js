import { decode } from './entry.js';
import { ifNobody } from './locks.js';

const HOUR = 3_600_000;

/** The longest for which a server keeps an outcome: after that no key is of use to anybody. */
const LONGEST = 366 * 24 * HOUR;

/**
 * Removes what is left of actions that are not called again, from the browser's own stores. What
 * keeps something from being done twice stays for a year.
 *
 * @param {import('./storage.js').Storage} storage
 * @param {import('./options.js').Settings} settings
 * @param {(action: string) => boolean} underWay in this page
 */
export async function sweep(storage, { now, ttl }, underWay) {
  if (now() - storage.swept < HOUR) return;
  storage.swept = now();
  try {
    for (const action of storage.actions()) {
      if (underWay(action)) continue;
      await ifNobody(action, async () => {
        const entry = decode(await storage.read(action, () => {}));
        if (!entry || underWay(action)) return;
        const harmless = entry.finished !== undefined || !entry.uncertain;
        if (now() - entry.created >= (harmless ? ttl : LONGEST)) await storage.remove(action, () => {});
      });
    }
  } catch {
    // Storage is blocked, or locks are.
  }
}

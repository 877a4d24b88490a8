/** @param {string} action */
function lockName(action) {
  return `idempotent-client:${action}`;
}

/** @returns {LockManager | undefined} */
function manager() {
  return globalThis.navigator?.locks;
}

/**
 * Does `work` while no other tab does anything for the same action. Where the browser has no Web
 * Locks, or keeps them from this page, it is done all the same: then the server alone keeps tabs
 * apart.
 *
 * @template T
 * @param {string} action
 * @param {AbortSignal} signal ends the wait
 * @param {() => void} onWait
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(action, signal, onWait, work) {
  const locks = manager();
  if (!locks) return work();
  const name = lockName(action);
  let entered = false;
  try {
    const request = locks.request(name, { signal }, () => {
      entered = true;
      return work();
    });
    isHeld(locks, name).then((held) => held && !entered && onWait());
    return await request;
  } catch (error) {
    if (entered) throw error;
    signal.throwIfAborted();
    return work();
  }
}

/**
 * Does `work` if no tab does anything for this action now.
 *
 * @param {string} action
 * @param {() => void} work
 */
export async function ifNobody(action, work) {
  const locks = manager();
  if (!locks) return work();
  await locks.request(lockName(action), { ifAvailable: true }, (lock) => lock && work());
}

/**
 * @param {string} action
 * @returns {Promise<boolean>} whether another tab waits until this one is done
 */
export async function othersWait(action) {
  try {
    const state = await manager()?.query();
    return state?.pending?.some(({ name }) => name === lockName(action)) ?? false;
  } catch {
    return false;
  }
}

/** @param {LockManager} locks @param {string} name */
async function isHeld(locks, name) {
  try {
    return (await locks.query()).held?.some((lock) => lock.name === name) ?? false;
  } catch {
    return false;
  }
}

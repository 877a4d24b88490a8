/**
 * What this page remembers over a reload, as JSON. Where the browser blocks storage, it is
 * remembered until the reload.
 *
 * @param {'sessionStorage' | 'localStorage'} name
 */
export function openStorage(name) {
  const memory = new Map();
  const storage = available(name);
  return {
    blocked: storage === undefined,
    get(key) {
      const text = memory.get(key) ?? storage?.getItem(key) ?? 'null';
      try {
        return JSON.parse(text);
      } catch {
        return null;
      }
    },
    set(key, value) {
      const text = JSON.stringify(value);
      memory.set(key, text);
      try {
        storage?.setItem(key, text);
      } catch {
        // It is full. Then a reload forgets this.
      }
    },
  };
}

/** Where storage is blocked, to read the property throws already. */
function available(name) {
  const probe = 'demonstration:probe';
  try {
    const storage = window[name];
    storage.setItem(probe, probe);
    storage.removeItem(probe);
    return storage;
  } catch {
    return undefined;
  }
}

/**
 * Options with a store of their own and a clock that moves only while an attempt is waited for, and
 * what was told: events, delays.
 */
export function observed(options = {}) {
  const events = [];
  const delays = [];
  const entries = new Map();
  let now = Date.UTC(2026, 0, 1);
  return {
    events,
    delays,
    entries,
    /** The events of one type. */
    told: (type) => events.filter((event) => event.type === type),
    stored() {
      const [text] = entries.values();
      return text === undefined ? undefined : JSON.parse(text);
    },
    advance: (delay) => (now += delay),
    options: {
      storage: entries,
      onEvent: (event) => events.push(event),
      random: () => 0.5,
      now: () => now,
      sleep: async (delay) => {
        delays.push(delay);
        now += delay;
      },
      ...options,
    },
  };
}

export const PAY = {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: '{"amount":100}',
};

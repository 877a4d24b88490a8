/** What the order costs, in cents. */
export const PRICE = 4900;

/** How long a checkout waits for an answer, in milliseconds. */
export const PATIENCE = 1200;

/** The request of either checkout. */
export function payment(caller) {
  return {
    method: 'POST',
    headers: { ...authorization(caller), 'Content-Type': 'application/json' },
    body: JSON.stringify({ user: caller, amount: PRICE, currency: 'USD' }),
  };
}

/**
 * What the server's ledger says of a caller: every payment, oldest first.
 *
 * @param {string} caller
 * @returns {Promise<{ id: string, amount: number }[]>}
 */
export async function ledgerOf(caller) {
  const response = await fetch('/payments', {
    headers: authorization(caller),
    cache: 'no-store',
    signal: AbortSignal.timeout(5000),
  });
  if (!response.ok) throw new Error(`GET /payments was answered ${response.status}`);
  return response.json();
}

function authorization(caller) {
  return { Authorization: `Bearer ${caller}` };
}

export function dollars(cents) {
  return (cents / 100).toLocaleString('en-US', { style: 'currency', currency: 'USD' });
}

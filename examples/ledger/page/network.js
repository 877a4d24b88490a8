/** How often the ledger is asked while an answer is awaited, in milliseconds. */
const WATCH = 150;

/**
 * A `fetch` over a network that breaks as asked, and that tells what it saw.
 *
 * The request really goes to the server and its answer really comes back. Where an answer is to be
 * lost, it is thrown away after that, and what is thrown is what `fetch` throws for a connection
 * that broke.
 *
 * @param {object} options
 * @param {{ headers?: Record<string, string>, drops?: boolean }} options.breakage
 * @param {() => number} options.nextAttempt counts the attempts of this tab
 * @param {(event: object) => void} options.tell
 * @param {() => Promise<void>} options.look asks the server's ledger for new charges
 * @returns {typeof fetch}
 */
export function brokenFetch({ breakage, nextAttempt, tell, look }) {
  return async (input, init) => {
    const attempt = nextAttempt();
    const request = new Request(input, init);
    if (attempt === 1) {
      for (const [name, value] of Object.entries(breakage.headers ?? {}))
        request.headers.set(name, value);
    }
    tell({ type: 'sent', attempt, key: request.headers.get('Idempotency-Key') });
    const gaveUp = () => tell({ type: 'gave-up', attempt });
    request.signal.addEventListener('abort', gaveUp);
    // A charge is seen when it is made, and not only with the answer.
    const watch = setInterval(look, WATCH);
    let response;
    try {
      response = await fetch(request);
    } catch (error) {
      if (!request.signal.aborted) tell({ type: 'unreachable', attempt });
      throw error;
    } finally {
      request.signal.removeEventListener('abort', gaveUp);
      clearInterval(watch);
      await look();
    }
    const answer = {
      attempt,
      status: response.status,
      replayed: response.headers.get('Idempotency-Replayed') === 'true',
      code: await problemCode(response),
    };
    if (attempt === 1 && breakage.drops) {
      await response.arrayBuffer();
      tell({ type: 'lost', ...answer });
      throw new TypeError('Failed to fetch');
    }
    tell({ type: 'answered', ...answer });
    return response;
  };
}

/** Why the server itself, and not the handler, answered. */
async function problemCode(response) {
  if (!response.headers.get('Content-Type')?.startsWith('application/problem+json')) return null;
  const problem = await response
    .clone()
    .json()
    .catch(() => null);
  return problem?.code ?? null;
}

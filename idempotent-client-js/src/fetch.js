import { problemCode } from './problem.js';

/**
 * How much of a body is read ahead. Servers keep bodies of up to this size by default: a larger
 * one would not be sent again, so there is nothing to win by holding it back.
 */
const READ_AHEAD = 1 << 20;

/**
 * @param {import('./request.js').Repeatable} request
 * @param {typeof fetch} [customFetch]
 * @returns {import('./run.js').Exchange<Response>}
 */
export function fetchExchange(request, customFetch) {
  return {
    async send(key, signal) {
      const headers = new Headers(request.headers);
      headers.set('Idempotency-Key', key);
      const { href, body, init } = request;
      const fetch = customFetch ?? globalThis.fetch;
      const response = await fetch(href, { ...init, headers, body, signal });
      if (signal.aborted) {
        // A `fetch` of the caller's that does not heed signals: nobody will read this.
        cancel(response.body);
        signal.throwIfAborted();
      }
      const ahead = await readAhead(response);
      return {
        answer: {
          status: response.status,
          code: problemCode(response.headers.get('Content-Type'), ahead),
          replayed: response.headers.get('Idempotency-Replayed') === 'true',
          redirected: response.redirected,
        },
        uncertain: false,
        retryAfter: response.headers.get('Retry-After'),
        streaming: ahead === undefined,
        value: response,
      };
    },
    // What is wrong with the request itself was found out before.
    hopeless: () => false,
    share({ value }, info, callers) {
      const responses = [];
      while (responses.length < callers - 1) responses.push(value.clone());
      if (callers > 0) responses.push(value);
      return responses.map((response) =>
        Object.defineProperty(response, 'idempotency', {
          value: Object.freeze({ ...info }),
          // A `fetch` of the caller's may give the same response again.
          configurable: true,
        }),
      );
    },
    discard: ({ value }) => cancel(value.body),
  };
}

/**
 * Receives a body to its end, so that one that breaks off is a lost response, which the next
 * attempt gets again. The response itself stays unread.
 *
 * @param {Response} response
 * @returns {Promise<string | undefined>} `undefined` if it is too long for that, or a stream of events
 */
async function readAhead(response) {
  if (!response.body) return '';
  if (/^text\/event-stream\b/i.test(response.headers.get('Content-Type') ?? '')) return undefined;
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.clone().body).getReader();
  const decoder = new TextDecoder();
  let [text, size] = ['', 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.byteLength;
    if (size > READ_AHEAD) {
      // Ends this copy alone. Its promise waits for the other one, so it is not awaited.
      cancel(reader);
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** @param {{ cancel(): Promise<void> } | null} source */
function cancel(source) {
  source?.cancel().catch(() => {});
}

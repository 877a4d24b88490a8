import { once } from 'node:events';
import http from 'node:http';

/**
 * A server that answers requests in turn, and remembers them. A step is a response
 * (`{ status, headers, body }`), `lose` (the effect happens, the connection is cut), or a function
 * of request and response.
 */
export async function serve(t, steps = []) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const seen = {
      method: request.method,
      url: request.url,
      headers: request.headers,
      key: request.headers['idempotency-key'],
      body: Buffer.concat(chunks).toString(),
    };
    requests.push(seen);
    server.emit('seen', seen);
    const step = steps.length > 1 ? steps.shift() : steps[0];
    if (typeof step === 'function') return step(request, response);
    answer(response, step);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    requests,
    keys: () => requests.map(({ key }) => key),
    /** Resolves when this many requests have come. */
    async seen(count) {
      while (requests.length < count) await once(server, 'seen');
    },
  };
}

export function answer(response, { status = 201, headers = {}, body = '' } = {}) {
  response.writeHead(status, headers);
  response.end(body);
}

export function lose(request) {
  request.socket.destroy();
}

/** Never answers. */
export function hang() {}

export function problem(status, code, headers = {}) {
  return {
    status,
    headers: { 'Content-Type': 'application/problem+json', ...headers },
    body: JSON.stringify({ type: `urn:problem:idempotency:${code}`, status, code }),
  };
}

/** Holds a request until it is opened. */
export function gate(step) {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  const held = async (request, response) => {
    await opened;
    if (typeof step === 'function') step(request, response);
    else answer(response, step);
  };
  return { held, open };
}

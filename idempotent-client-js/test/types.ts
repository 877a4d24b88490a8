// What the declarations promise to callers. Checked by `npm run types`, and never run.
import axios from 'axios';

import { idempotentAxios } from '../src/axios.js';
import {
  createClient,
  forget,
  IdempotencyError,
  idempotentFetch,
  pending,
  type IdempotencyEvent,
  type KeyStore,
} from '../src/index.js';

const store: KeyStore = new Map<string, string>();
const slow: KeyStore = { get: async () => null, set: async () => {}, delete: async () => {} };

const response = await idempotentFetch('pay', '/payments', { method: 'POST' }, { storage: slow });
const plain: Response = response;
const attempts: number = response.idempotency.attempts;
// @ts-expect-error It is read-only.
response.idempotency.attempts = 7;
// @ts-expect-error A `Request` is not taken.
await idempotentFetch('pay', new Request('/payments'));
// @ts-expect-error There is no such storage.
await idempotentFetch('pay', '/payments', {}, { storage: 'cookies' });

const client = createClient({ storage: store, onEvent: draw });
await client.fetch('pay', new URL('http://pay.test'), { method: 'POST' });
await forget('pay');
const kept = await pending('pay');
const key: string | undefined = kept?.key;
const refused: 'key-expired' | 'key-unreadable' | undefined = kept?.refused;

const payments = idempotentAxios(axios.create(), { storage: 'local' });
const { data, idempotency } = await payments.request<{ id: string }>('pay', { method: 'post' });
const id: string = data.id;
// @ts-expect-error axios sends it.
idempotentAxios(axios, { fetch });

function draw(event: IdempotencyEvent): number | undefined {
  if (event.type === 'retry') return event.delay;
  if (event.type === 'response') return event.status;
  // @ts-expect-error Only a retry has one.
  return event.delay;
}

try {
  await client.fetch('', '/');
} catch (error) {
  if (error instanceof IdempotencyError && error.code === 'action-invalid') throw error;
}

export { attempts, id, idempotency, key, plain, refused };

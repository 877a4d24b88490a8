import assert from 'node:assert/strict';
import { test } from 'node:test';

import { classify } from '../src/outcome.js';

const clean = { code: undefined, replayed: false, redirected: false };

/** [answer, verdict after a clean start, verdict after an attempt that was left uncertain] */
const rules = [
  [{ status: 200 }, 'give-up', 'give-up'],
  [{ status: 201, replayed: true }, 'give-up', 'give-up'],
  [{ status: 204 }, 'give-up', 'give-up'],
  [{ status: 400 }, 'give-up', 'keep'],
  [{ status: 401 }, 'give-up', 'keep'],
  [{ status: 402 }, 'give-up', 'keep'],
  [{ status: 413, code: 'body-too-large' }, 'give-up', 'keep'],
  [{ status: 422 }, 'give-up', 'keep'],
  [{ status: 402, replayed: true }, 'give-up', 'give-up'],
  [{ status: 429, replayed: true }, 'give-up', 'give-up'],
  [{ status: 303, replayed: true }, 'give-up', 'give-up'],
  [{ status: 409 }, 'give-up', 'keep'],
  [{ status: 409, code: 'sold-out' }, 'give-up', 'keep'],
  [{ status: 409, code: 'in-flight' }, 'retry', 'retry'],
  [{ status: 409, code: 'outcome-unknown' }, 'keep', 'keep'],
  [{ status: 409, code: 'response-not-kept' }, 'give-up', 'give-up'],
  [{ status: 409, code: null }, 'keep', 'keep'],
  [{ status: 422, code: 'key-reused' }, 'keep', 'keep'],
  [{ status: 408 }, 'retry', 'retry'],
  [{ status: 425 }, 'retry', 'retry'],
  [{ status: 429 }, 'retry', 'retry'],
  [{ status: 502 }, 'retry', 'retry'],
  [{ status: 503, code: 'store-full' }, 'retry', 'retry'],
  [{ status: 504 }, 'retry', 'retry'],
  [{ status: 500 }, 'keep', 'keep'],
  [{ status: 501 }, 'keep', 'keep'],
  [{ status: 500, replayed: true }, 'keep', 'keep'],
  [{ status: 503, replayed: true }, 'keep', 'keep'],
  [{ status: 0 }, 'keep', 'keep'],
  [{ status: 302 }, 'keep', 'keep'],
  [{ status: 200, redirected: true }, 'keep', 'keep'],
  [{ status: 401, redirected: true }, 'keep', 'keep'],
];

for (const [answer, fresh, later] of rules) {
  test(`${JSON.stringify(answer)}: ${fresh}, and ${later} after an uncertain attempt`, () => {
    assert.equal(classify({ ...clean, ...answer }, false).then, fresh);
    assert.equal(classify({ ...clean, ...answer }, true).then, later);
  });
}

test('only a refusal to try at all leaves a clean key clean', () => {
  const after = (status, code) => classify({ ...clean, status, code }, false).uncertain;
  assert.equal(after(429), false);
  assert.equal(classify({ ...clean, status: 429 }, true).uncertain, true);
  for (const status of [408, 425, 500, 502, 503, 504]) assert.equal(after(status), true, status);
  assert.equal(after(409, 'in-flight'), true);
});

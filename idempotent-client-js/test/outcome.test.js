import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { classify } from '../src/outcome.js';

const clean = { code: undefined, replayed: false, redirected: false };

/** What each verdict comes to after a clean start, and after an attempt that was left uncertain. */
const MEANING = {
  done: ['give-up', 'give-up'],
  refused: ['give-up', 'keep'],
  retry: ['retry', 'retry'],
  uncertain: ['keep', 'keep'],
};

/** Answers and verdicts, for clients in all languages. */
const vectors = JSON.parse(await readFile(new URL('outcomes.json', import.meta.url), 'utf8'));

/** What only this client is told, or reads otherwise. */
const own = [
  // A problem document that cannot be read may have any code.
  { status: 409, code: null, verdict: 'uncertain' },
  { status: 422, code: null, verdict: 'uncertain' },
  { status: 409, code: null, replayed: true, verdict: 'uncertain' },
  // An opaque answer.
  { status: 0, verdict: 'uncertain' },
  // It may lead to a page to log in.
  { status: 303, verdict: 'uncertain' },
  { status: 303, replayed: true, verdict: 'done' },
  { status: 200, redirected: true, verdict: 'uncertain' },
  { status: 401, redirected: true, verdict: 'uncertain' },
  { status: 201, redirected: true, replayed: true, verdict: 'done' },
  { status: 402, redirected: true, replayed: true, verdict: 'done' },
  { status: 500, redirected: true, replayed: true, verdict: 'uncertain' },
];

for (const { verdict, ...answer } of [...vectors, ...own]) {
  test(`${JSON.stringify(answer)}: ${verdict}`, () => {
    const [fresh, later] = MEANING[verdict];
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

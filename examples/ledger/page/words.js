import { PATIENCE, PRICE, dollars } from './server.js';

/**
 * How an event is drawn and told.
 *
 * @typedef {object} Step
 * @property {'browser' | 'server' | 'out' | 'back'} where on a lifeline, or on the way between
 * @property {string} text
 * @property {string} [code] beside it, such as a key
 * @property {'good' | 'bad' | 'plain'} [tone]
 * @property {boolean} [broken] it did not get there
 */

/**
 * @param {object} event
 * @param {number} charges how many charges there were before it
 * @returns {Step}
 */
export function step(event, charges) {
  const step = plainStep(event, charges);
  return event.tab === 2 ? { ...step, text: `Tab 2: ${lowerFirst(step.text)}` } : step;
}

function plainStep(event, charges) {
  switch (event.type) {
    case 'pressed':
      return { where: 'browser', text: event.again ? 'Pay pressed again' : 'Pay pressed' };
    case 'joined':
      return { where: 'browser', text: 'Joins the payment under way, sends nothing', tone: 'good' };
    case 'waiting':
      return { where: 'browser', text: 'Waits for the other tab' };
    case 'sent':
      return event.key
        ? { where: 'out', text: `Attempt ${event.attempt}`, code: `key ${shortKey(event.key)}` }
        : { where: 'out', text: `Attempt ${event.attempt}`, code: 'no key' };
    case 'charged':
      return charges === 0
        ? { where: 'server', text: `${dollars(event.amount)} charged` }
        : { where: 'server', text: `${dollars(event.amount)} charged again`, tone: 'bad' };
    case 'answered':
      return { where: 'back', ...answer(event) };
    case 'lost':
      return { where: 'back', text: `${answer(event).text}, lost on the way`, broken: true };
    case 'gave-up':
      return { where: 'browser', text: `No answer within ${PATIENCE / 1000} s, stops waiting` };
    case 'unreachable':
      return { where: 'out', text: `Attempt ${event.attempt} got no answer`, broken: true };
    case 'reloaded':
      return { where: 'browser', text: 'Page reloaded' };
    case 'resumed':
      return event.keyed
        ? { where: 'browser', text: 'Kept the key, goes on by itself' }
        : { where: 'browser', text: 'Kept nothing, waits to be paid' };
    case 'looked':
      return { where: 'browser', ...looked(event.charged) };
    case 'alone':
      return { where: 'browser', text: 'No second tab answered, pays alone' };
    case 'shown':
      return { where: 'browser', text: `Shows: ${event.outcome === 'paid' ? 'paid' : 'failed'}` };
    default:
      return { where: 'browser', text: event.type };
  }
}

function looked(charged) {
  if (charged === undefined) return { text: 'The ledger cannot be asked' };
  return charged
    ? { text: 'Finds the charge in the ledger, sends nothing', tone: 'good' }
    : { text: 'Finds no charge in the ledger, pays with a new key' };
}

function answer({ status, replayed, code }) {
  if (replayed) return { text: `${status}, replayed`, tone: status < 300 ? 'good' : 'plain' };
  if (code === 'in-flight') return { text: `${status}, still in flight` };
  if (status < 300) return { text: `${status}, paid` };
  return { text: `${status}${code ? `, ${code}` : ', failed'}` };
}

export function times(count) {
  return ['Not charged', 'Charged once', 'Charged twice'][count] ?? `Charged ${count} times`;
}

export function shortKey(key) {
  return `${key.replaceAll('"', '').slice(0, 8)}…`;
}

function lowerFirst(text) {
  return text[0].toLowerCase() + text.slice(1);
}

/**
 * What a checkout's customer is told, and what is behind it.
 *
 * @param {{ over: boolean, outcome?: string, status?: number, stuck?: string, found?: boolean, keyed: boolean }} side
 * @param {number | undefined} charges `undefined` if the ledger cannot be asked
 */
export function said(side, charges) {
  if (!side.over) return 'Paying…';
  if (side.outcome === 'paid') {
    if (side.found) {
      return 'The customer was told: paid. The charge was found in the ledger, and nothing was paid again.';
    }
    const excess = charges > 1 ? ` ${dollars((charges - 1) * PRICE)} too much.` : '';
    return `The customer was told: paid.${excess}`;
  }
  if (side.stuck) return `${stuck(side)} Try again looks at the ledger before anything is paid.`;
  if (side.outcome === 'refused') return `The customer was told: refused, with a ${side.status}.`;
  const reason = side.status
    ? `The server answered ${side.status}.`
    : 'The server does not answer.';
  return side.keyed
    ? `${reason} The key is kept: press Pay to go on with the same payment.`
    : `${reason} Whether it was paid is not known: press Pay to pay again.`;
}

/** Why the key will never clear up what happened. */
function stuck({ stuck, status }) {
  switch (stuck) {
    case 'key-expired':
      return (
        'Whether it was paid is not known. The key is too old to be sent again, since the server ' +
        'may have forgotten it.'
      );
    case 'key-unreadable':
      return 'Whether it was paid is not known. What the browser stored of the key cannot be read.';
    default:
      return (
        `The customer was told: failed. The server recorded its ${status} and repeats it, so the ` +
        'key is kept and no retry can charge again.'
      );
  }
}

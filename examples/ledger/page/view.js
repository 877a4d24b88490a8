import { PRICE, dollars } from './server.js';
import { said, step, times } from './words.js';

/** One checkout's part of the page. */
export class SideView {
  #root;
  #list;
  #run;
  #drawn = 0;
  #charges = 0;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /**
   * @param {{ number: number, started: number } | undefined} run
   * @param {object} [side] the run's part
   * @param {{ id: string, amount: number }[] | undefined} ledger `undefined` if it cannot be asked
   * @param {number} orders how many were made in this visit
   */
  draw(run, side, ledger, orders) {
    this.#drawTimeline(run, side);
    const charges = run && !ledger && side.over ? undefined : this.#charges;
    this.#drawVerdict(run, side, charges);
    this.#drawLedger(side, ledger, orders);
  }

  #drawVerdict(run, side, charges) {
    const verdict = this.#root.querySelector('.verdict');
    const [charged, told] = verdict.querySelectorAll('.charged, .said');
    verdict.dataset.charges = verdictName(run, charges);
    if (!run) {
      setText(charged, 'Not charged yet');
      setText(told, '');
      return;
    }
    setText(
      charged,
      charges === undefined ? 'Not known' : times(charges),
      dollars((charges ?? 0) * PRICE),
    );
    setText(told, said(side, charges ?? 0));
  }

  #drawTimeline(run, side) {
    const place = this.#root.querySelector('.timeline');
    if (this.#list && this.#run === run?.order) {
      this.#append(run, side);
      return;
    }
    this.#run = run?.order;
    this.#drawn = 0;
    this.#charges = 0;
    if (!run) {
      this.#list = undefined;
      place.replaceChildren(
        element(
          'p',
          'empty',
          'Nothing was sent yet. What the browser sends and the server answers will be drawn here.',
        ),
      );
      return;
    }
    const heads = element('p', 'lifelines');
    heads.ariaHidden = 'true';
    heads.append(element('span', '', 'Browser'), element('span', '', 'Server'));
    this.#list = element('ol', 'steps');
    this.#list.ariaLabel = 'What happened';
    place.replaceChildren(heads, this.#list);
    this.#append(run, side);
  }

  #append(run, side) {
    for (const event of side.events.slice(this.#drawn)) {
      const { where, text, code, tone = 'plain', broken = false } = step(event, this.#charges);
      if (event.type === 'charged') this.#charges += 1;
      const item = element('li', `step ${where}`);
      item.dataset.tone = tone;
      item.dataset.type = event.type;
      if (broken) item.classList.add('broken');
      const label = element('span', 'label', text);
      if (code) label.append(' ', element('code', '', code));
      item.append(element('span', 'time', seconds(event.at - run.started)), label);
      this.#list.append(item);
    }
    this.#drawn = side.events.length;
  }

  #drawLedger(side, ledger, orders) {
    const place = this.#root.querySelector('.ledger');
    const title = element('h3', '', 'The server’s ledger');
    if (!ledger) {
      place.replaceChildren(
        title,
        element('p', 'empty', 'It cannot be asked: the server does not answer.'),
      );
      return;
    }
    const current = new Set(
      (side?.events ?? []).filter(({ type }) => type === 'charged').map(({ id }) => id),
    );
    const rows = ledger.filter(({ id }) => current.has(id));
    if (rows.length === 0) {
      title.append(
        ' ',
        element('span', 'aside', ledger.length ? 'no row for this order' : 'no rows'),
      );
    }
    const list = element('ul', 'rows');
    for (const { id, amount } of rows) {
      const row = element('li', '');
      row.append(element('code', '', id.slice(0, 8)), element('span', '', dollars(amount)));
      list.append(row);
    }
    const paid = ledger.reduce((sum, { amount }) => sum + amount, 0);
    const total = element('p', 'visit');
    total.append(
      element('span', '', `In all: ${count(orders, 'order')}, ${count(ledger.length, 'charge')}`),
      element('strong', '', dollars(paid)),
    );
    place.replaceChildren(title, ...(rows.length ? [list] : []), total);
  }
}

/** A notice above the checkout. */
export function notice(text) {
  const shown = element('p', 'notice', text);
  document.getElementById('notices').append(shown);
  return shown;
}

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function verdictName(run, charges) {
  if (!run || charges === 0) return 'none';
  if (charges === undefined) return 'unknown';
  return charges === 1 ? 'once' : 'more';
}

/** Sets a text and what stands beside it; what is the same is left, so nothing is read out again. */
function setText(place, text, beside) {
  const wanted = beside ? `${text} ${beside}` : text;
  if (place.textContent === wanted) return;
  place.replaceChildren(element('span', '', text));
  if (beside) place.append(' ', element('span', 'amount', beside));
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function seconds(milliseconds) {
  return `${(Math.max(0, milliseconds) / 1000).toFixed(2)} s`;
}

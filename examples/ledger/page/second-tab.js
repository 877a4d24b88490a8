import { breakage } from './breakages.js';
import { Checkout, SIDES } from './checkout.js';
import { ledgerOf } from './server.js';
import { element, notice } from './view.js';

const SHARED = 'demonstration:shared';
/** How long a tab may take to open, and to pay, in milliseconds. */
const OPENS_WITHIN = 8000;
const PAYS_WITHIN = 30_000;

/**
 * Opens this page a second time, to pay for the same order. Where pop-ups are blocked it is opened
 * in a frame that is not seen.
 *
 * @returns {{ ready: Promise<boolean>, over: Promise<void> }} `ready`: whether it came; it begins
 *   to pay at that moment
 */
export function openSecondTab(local, setting, { tell, ledger }) {
  local.set(SHARED, setting);
  const channel = new BroadcastChannel(setting.order);
  const address = `/?second-tab=${setting.order}`;
  const opened = window.open(address, '_blank', 'popup,width=420,height=420');
  let frame;
  if (!opened) {
    frame = element('iframe');
    frame.hidden = true;
    frame.title = 'Second tab';
    frame.src = address;
    document.body.append(frame);
  }
  const came = Promise.withResolvers();
  const over = Promise.withResolvers();
  channel.addEventListener('message', ({ data }) => {
    if (data.ready) {
      channel.postMessage({ go: true });
      came.resolve(true);
    }
    if (data.event) tell(data.side, data.event);
    if (data.ledger) ledger(data.side, data.ledger);
    if (data.over) over.resolve();
  });
  const absent = setTimeout(() => {
    came.resolve(false);
    over.resolve();
  }, OPENS_WITHIN);
  came.promise.then(() => clearTimeout(absent));
  const silent = setTimeout(() => over.resolve(), PAYS_WITHIN);
  over.promise.then(() => {
    clearTimeout(silent);
    channel.close();
    frame?.remove();
  });
  return { ready: came.promise, over: over.promise };
}

/** This page as the second tab: it pays when it is told to, and tells the first what happens. */
export function beSecondTab(local, order) {
  document.title = 'Second tab';
  document.body.dataset.secondTab = '';
  document.getElementById('main').remove();
  const shown = notice('');
  const setting = local.get(SHARED);
  if (setting?.order !== order) {
    shown.textContent = 'This tab belongs to an order that is no longer there. It can be closed.';
    return;
  }
  shown.textContent = 'The second tab: it pays for the same order as the tab that opened it.';
  const channel = new BroadcastChannel(order);
  let paying = SIDES.length;
  const finished = () => {
    paying -= 1;
    if (paying > 0) return;
    channel.postMessage({ over: true });
    shown.textContent = 'Done. The first tab shows what happened. This one can be closed.';
  };
  const begin = () => {
    for (const side of SIDES) {
      const caller = `demo-${setting.customer}-${side}`;
      const tell = (event) => channel.postMessage({ side, event: { at: Date.now(), ...event } });
      const look = async () => {
        const ledger = await ledgerOf(caller).catch(() => null);
        if (ledger) channel.postMessage({ side, ledger });
      };
      const checkout = new Checkout(
        side,
        {
          order,
          caller,
          breakage: breakage(setting.breakage),
          storage: 'local',
          attempts: 0,
          tell,
          look,
        },
        finished,
      );
      void checkout.press();
    }
  };
  channel.addEventListener('message', ({ data }) => data.go && begin(), { once: true });
  channel.postMessage({ ready: true });
  // Closed before it is done, nobody need wait for it.
  window.addEventListener('pagehide', () => channel.postMessage({ over: true }));
}

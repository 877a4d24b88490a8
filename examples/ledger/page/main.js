import { BREAKAGES, breakage } from './breakages.js';
import { SIDES } from './checkout.js';
import { beSecondTab } from './second-tab.js';
import { openStorage } from './storage.js';
import { SideView, element, notice } from './view.js';
import { Visit } from './visit.js';
import { PRICE, dollars } from './server.js';
import { times } from './words.js';

const session = openStorage('sessionStorage');
const local = openStorage('localStorage');
const CHOSEN = 'demonstration:chosen';

const secondTab = new URLSearchParams(location.search).get('second-tab');
if (secondTab) beSecondTab(local, secondTab);
else begin();

function begin() {
  const form = document.getElementById('form');
  const views = SIDES.map((side) => [side, new SideView(document.getElementById(side))]);
  const visit = new Visit(session, local, draw);
  let announced = true;

  offerBreakages();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const chosen = new FormData(form).get('breakage');
    session.set(CHOSEN, chosen);
    if (visit.over) say('Paying…');
    announced = false;
    visit.press(chosen);
    document.querySelector('#protected .verdict').scrollIntoView({ block: 'nearest' });
  });
  document.getElementById('reset').addEventListener('click', () => {
    announced = true;
    visit.reset();
    say('Started over as a new customer.');
  });

  draw();
  if (visit.resume()) {
    announced = false;
    say('The page was reloaded in the middle of a payment, and goes on with it by itself.');
  }

  function draw() {
    const { run, ledgers, orders } = visit.state;
    for (const [side, view] of views) view.draw(run, run?.sides[side], ledgers[side], orders);
    const pay = document.getElementById('pay');
    const wanted = visit.over && visit.open ? 'Try again' : `Pay ${dollars(PRICE)}`;
    if (pay.textContent !== wanted) pay.textContent = wanted;
    document.getElementById('results').ariaBusy = String(!visit.over);
    if (visit.over && !announced) {
      announced = true;
      say(views.map(([side]) => summary(side)).join(' '));
    }
  }
}

function summary(side) {
  const root = document.getElementById(side);
  const [title, charged, told] = ['h2', '.charged', '.said'].map(
    (part) => root.querySelector(part).textContent,
  );
  return `${title}: ${charged}. ${told}`;
}

function say(text) {
  document.getElementById('status').textContent = text;
}

function offerBreakages() {
  const chosen = session.get(CHOSEN) ?? BREAKAGES[0].name;
  const blocked = { sessionStorage: session.blocked, localStorage: local.blocked };
  if (session.blocked || local.blocked) {
    notice(
      'Your browser blocks storage for this page, so keys are kept in memory, and a reload ' +
        'forgets them. What needs storage cannot be chosen.',
    );
  }
  for (const { name, title, text, needs } of BREAKAGES) {
    const label = element('label', 'breakage');
    const radio = element('input');
    Object.assign(radio, {
      type: 'radio',
      name: 'breakage',
      value: name,
      disabled: blocked[needs] ?? false,
    });
    radio.checked = name === chosen && !radio.disabled;
    const description = element('span', '', text);
    description.id = `breakage-${name}`;
    description.hidden = true;
    radio.setAttribute('aria-describedby', description.id);
    label.append(radio, element('span', '', title));
    document.getElementById('breakages').append(label, description);
  }
  const radios = [...document.querySelectorAll('input[name=breakage]')];
  if (!radios.some(({ checked }) => checked)) radios[0].checked = true;
  const explain = () => {
    const { value } = radios.find(({ checked }) => checked);
    document.getElementById('explanation').textContent = breakage(value).text;
  };
  document.getElementById('breakages').addEventListener('change', explain);
  explain();
}

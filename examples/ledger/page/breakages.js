/**
 * What can go wrong. `headers` ask the server for it, `drops` is for the network; both touch only
 * a checkout's first attempt in each tab, so what comes later shows what a retry gets. `needs` is
 * the storage without which it cannot be shown.
 */
export const BREAKAGES = [
  {
    name: 'lose',
    title: 'Lose the response',
    text: 'The payment is made. Its answer never arrives.',
    drops: true,
  },
  {
    name: 'slow',
    title: 'Slow server',
    text: 'The payment is made. The answer takes longer than the browser waits.',
    headers: { 'X-Demo-Answer-Delay-Ms': '2600' },
  },
  {
    name: 'error',
    title: 'Server error',
    text: 'The payment is made. Then the server fails, and answers 500.',
    headers: { 'X-Demo-Fail': 'after-effect-500' },
  },
  {
    name: 'double',
    title: 'Double click',
    text: 'Pay is pressed twice in the same instant.',
    presses: 2,
    headers: { 'X-Demo-Answer-Delay-Ms': '300' },
  },
  {
    name: 'reload',
    title: 'Reload',
    text: 'The page is reloaded while the payment is under way.',
    reloads: true,
    needs: 'sessionStorage',
    headers: { 'X-Demo-Answer-Delay-Ms': '2600' },
  },
  {
    name: 'tabs',
    title: 'Two tabs',
    text: 'A second tab pays for the same order at the same time.',
    secondTab: true,
    needs: 'localStorage',
    headers: { 'X-Demo-Answer-Delay-Ms': '600' },
  },
  {
    name: 'nothing',
    title: 'Nothing',
    text: 'The first answer arrives.',
  },
];

export function breakage(name) {
  return BREAKAGES.find((known) => known.name === name) ?? BREAKAGES[0];
}

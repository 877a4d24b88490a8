// Takes the picture that the documentation shows, or with a folder all that are worth looking at:
//
//   AXUM_PAYMENTS=… npm run screenshots [-- FOLDER]
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startApplication } from './application.js';
import { findChromium } from './chromium.js';
import { Demonstration } from './demonstration.js';

const SHOWN = fileURLToPath(new URL('../../../docs/lose-the-response.png', import.meta.url));
const BREAKAGES = [
  'Lose the response',
  'Slow server',
  'Server error',
  'Double click',
  'Reload',
  'Two tabs',
];
const SCREENS = [
  { colorScheme: 'light', width: 1280 },
  { colorScheme: 'dark', width: 1280 },
  { colorScheme: 'light', width: 375 },
];

const chromium = await findChromium();
if (chromium.missing) throw new Error(chromium.missing);
if (!process.env.AXUM_PAYMENTS) throw new Error('AXUM_PAYMENTS must name the application');
const application = await startApplication(process.env.AXUM_PAYMENTS, 'memory');
const browser = await chromium.launch();
try {
  const [folder] = process.argv.slice(2);
  if (folder) {
    for (const screen of SCREENS) await takeAll(folder, screen);
  } else {
    await take([BREAKAGES[0]], SHOWN, SCREENS[0]);
  }
} finally {
  await browser.close();
  await application.stop();
}

async function takeAll(folder, screen) {
  const name = (state) =>
    join(
      folder,
      `${state.toLowerCase().replaceAll(' ', '-')}-${screen.colorScheme}-${screen.width}.png`,
    );
  await take([], name('start'), screen);
  for (const breakage of BREAKAGES) await take([breakage], name(breakage), screen);
}

async function take(breakages, path, { width, ...options }) {
  const viewport = { width, height: 800 };
  const page = await Demonstration.open(browser, application.address, {
    ...options,
    viewport,
    reducedMotion: 'reduce',
  });
  for (const breakage of breakages) await page.break(breakage);
  // Nothing that the pointer happens to be over.
  await page.page.mouse.move(0, 0);
  await page.page.screenshot({ path, fullPage: true });
  await page.close();
}

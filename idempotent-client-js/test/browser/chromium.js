import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * What the tests in a browser need, or why they cannot be run.
 *
 * @returns {Promise<{ missing: string } | { missing?: undefined, launch: () => Promise<import('playwright-core').Browser> }>}
 */
export async function findChromium() {
  const playwright = await import('playwright-core').catch(() => undefined);
  if (!playwright) return { missing: 'playwright-core is not installed: `npm install`' };
  const executablePath = await firstThere(
    process.env.CHROMIUM ? [process.env.CHROMIUM] : CANDIDATES,
  );
  if (!executablePath) {
    return {
      missing: `there is no Chromium at ${process.env.CHROMIUM ?? CANDIDATES.join(', ')}: CHROMIUM names it`,
    };
  }
  return { launch: () => playwright.chromium.launch({ executablePath, args: FLAGS }) };
}

/** A folder that is gone after the tests. */
export async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'idempotent-client-'));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

async function firstThere(paths) {
  for (const path of paths) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return undefined;
}

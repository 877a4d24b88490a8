import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/**
 * Starts an example application on a free port, with nothing in its store.
 *
 * @param {string} binary
 * @param {string} store such as `memory`
 * @param {string} [listen] an address, to be found again after a restart
 * @returns {Promise<{ address: string, entries: (caller: string) => Promise<any[]>, stop: () => Promise<void> }>}
 */
export async function startApplication(binary, store, listen = '127.0.0.1:0') {
  const environment = { ...process.env, LISTEN: listen, STORE: store, RUST_LOG: 'warn' };
  const child = spawn(binary, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => (log += text));
  const address = await listening(child).catch((error) => {
    throw new Error(`${binary} did not start: ${error.message}\n${log}`);
  });
  return {
    address,
    /** What the server's own ledger says of a caller. */
    async entries(caller) {
      const response = await fetch(`${address}/payments`, {
        headers: { Authorization: `Bearer ${caller}` },
      });
      if (!response.ok) throw new Error(`GET /payments was answered ${response.status}`);
      return response.json();
    },
    /** As a crash would: nobody is waited for. */
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

async function listening(child) {
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const [, address] = / listens on (http:\/\/\S+)/.exec(line) ?? [];
    if (address) {
      // What else it has to say must not fill the pipe.
      child.stdout.resume();
      return address;
    }
  }
  throw new Error('it ended');
}

// Asks both examples for whatever can become of a request, for so many seconds:
// node load.mjs SECONDS ADDRESS…
const [seconds, ...addresses] = process.argv.slice(2);
const end = Date.now() + 1000 * seconds;
const run = `${process.pid}-${end}`;
let number = 0;

async function pay(address, key, headers = {}, { amount = 100, signal } = {}) {
  const body = JSON.stringify({ user: 'alice', amount, currency: 'USD' });
  const keyed = key === undefined ? {} : { 'Idempotency-Key': key };
  try {
    const response = await fetch(`${address}/payments`, {
      method: 'POST',
      headers: { Authorization: 'Bearer alice', 'Content-Type': 'application/json', ...keyed, ...headers },
      body,
      signal,
    });
    await response.arrayBuffer();
  } catch {
    // Connections are lost on purpose.
  }
}

const rarely = [
  (address, key) => pay(address, key, {}, { amount: 999 }),
  (address) => pay(address),
  (address) => pay(address, '"unterminated'),
  (address) => pay(address, `${run}-${number}-later`, { 'X-Demo-Fail': 'before-effect-503' }),
  (address) => pay(address, `${run}-${number}-panic`, { 'X-Demo-Fail': 'panic-after' }),
  async (address) => {
    const large = `${run}-${number}-large`;
    await pay(address, large, { 'X-Demo-Body-Bytes': '2000000' });
    await pay(address, large, { 'X-Demo-Body-Bytes': '2000000' });
  },
  async (address) => {
    const slow = `${run}-${number}-slow`;
    const first = pay(address, slow, { 'X-Demo-Delay-Ms': '800' });
    await pay(address, slow, { 'X-Demo-Delay-Ms': '800' });
    await first;
  },
  (address) => pay(address, `${run}-${number}-gone`, { 'X-Demo-Delay-Ms': '3000' },
    { signal: AbortSignal.timeout(300) }),
];

async function caller(address) {
  while (Date.now() < end) {
    number += 1;
    const key = `${run}-${number}`;
    await pay(address, key, { 'X-Demo-Delay-Ms': String(Math.round(40 * Math.random())) });
    if (number % 3 === 0) await pay(address, key);
    if (number % 5 === 0) void rarely[Math.floor(rarely.length * Math.random())](address, key);
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
}

await Promise.all(addresses.flatMap((address) => [1, 2, 3, 4].map(() => caller(address))));

// The frame of a stranger's story in JavaScript: a case comes in, each step is told as a line of JSON.
//
// It must be imported before the client: from then on a socket reaches the loopback address or nothing.

import assert from 'node:assert/strict';
import { readFileSync, writeSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const HERE = '127.0.0.1';
const PATIENCE_MS = 20000;

const met = new Set();
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function guarded(...args) {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args;
  const { host, port } = typeof first === 'object' ? first : { host: second, port: first };
  if (host !== HERE) throw new Error(`a stray call to ${host}:${port}`);
  met.add(`${host}:${port}`);
  return connect.apply(this, args);
};

const theCase = JSON.parse(readFileSync(0, 'utf8'));
const heardMail = [];
let shop;

/** The case as case.py puts it. */
export { theCase as case };

/** Open the merchant's callback address, which answers every notification alike. */
export async function begin(status, words) {
  shop = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      heardMail.push({
        at: request.url.slice(1), headers: request.headers, body: Buffer.concat(chunks).toString('utf8'),
      });
      response.writeHead(status).end(words);
    });
  });
  await new Promise((done) => { shop.listen(0, HERE, done); });
}

/** Take a step now and tell how it went. */
export async function step(name, act) {
  let error = null;
  try {
    await act();
  } catch (thrown) {
    error = thrown?.stack ?? String(thrown);
  }
  writeSync(1, `${JSON.stringify({ step: name, error })}\n`);
}

/** The last step of every story: the client spoke to the sandbox, and could not to others. */
export async function end() {
  await step('reaches nobody but the sandbox', async () => {
    assert.throws(() => net.connect(80, '192.0.2.1'), /stray call/);
    await assert.rejects(fetch('http://192.0.2.1/'), (error) => /stray call/.test(error.cause?.message));
    assert.deepEqual([...met], [new URL(theCase.far).host]);
  });
  process.exit(0);
}

/** A number of an order or refund that no other story uses. */
export const number = (name) => `${theCase.prefix}${name}`;

/** Where the merchant wants to hear of something. */
export const address = (name) => `http://${HERE}:${shop.address().port}/${name}`;

/** What arrived at an address, once it is so many. */
export async function heard(name, count = 1) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = heardMail.filter((mail) => mail.at === name);
    if (found.length >= count) return found;
    assert.ok(Date.now() < deadline, `heard ${found.length} of ${count} at ${name}`);
    await sleep(10);
  }
}

/** The sandbox's control API: the shopper's hand, the network's levers. */
export async function control(path, body = {}) {
  const answer = await fetch(`${theCase.far}/control/${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  });
  const said = await answer.json();
  assert.ok(answer.ok, JSON.stringify(said));
  return said;
}

/** Open a cashier's address, approve, and say where the browser is sent then. */
export async function approve(url) {
  const opened = await fetch(url, { redirect: 'manual' });
  assert.equal(opened.status, 303, await opened.text());
  const cashier = new URL(opened.headers.get('location'), theCase.far);
  const paid = await fetch(cashier, {
    method: 'POST', redirect: 'manual', body: new URLSearchParams({ action: 'approve' }),
  });
  return paid.headers.get('location');
}

/** A query or form, decoded once. */
export const fieldsOf = (text) => Object.fromEntries(new URLSearchParams(text));

// A webhook receiver without a framework: verifies with the stock library, keeps each event once, answers.

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.MAFU_WEBHOOK_SECRET);
const BODY_BYTES_MAX = 256 * 1024; // the largest event has half of that
const seen = new Set(); // in your system: a table with the event's id as its key

async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new RangeError("too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8"); // whole, and as it came
}

async function answer(request) {
  if (request.method !== "POST" || request.url !== "/hook") return 404;
  let event;
  try {
    event = webhook.verify(await bodyOf(request), request.headers);
  } catch (error) {
    return error instanceof RangeError ? 413 : 401; // not signed by our Mafu, or too old
  }
  if (!seen.has(event.id)) {
    seen.add(event.id); // the same event may come again; then there is nothing left to do
    console.log(event.type, event.data.object.id); // here your own work begins
  }
  return 204;
}

const server = createServer((request, response) => {
  answer(request)
    .catch(() => 400)
    .then((status) => response.writeHead(status).end());
});
server.listen(Number(process.env.RECEIVER_PORT ?? 3002), "127.0.0.1");

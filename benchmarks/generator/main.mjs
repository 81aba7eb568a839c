// The load generator: a process of its own that obeys one command per line on standard input and
// answers each with a line of JSON.
//
//   open          opens the connections
//   run <ms>      keeps them busy that long, waits for the answers on their way, reports the count
//   hold          leaves the connections open and idle, after one message each where compressed
//   close         closes them
//
// Its one argument is a scenario with the server's port, as JSON.

import { Buffer } from "node:buffer";
import process from "node:process";
import { Client, countBytes, countMessages, handshake } from "./client.mjs";
import { closeClients, deferred, fail, inGroups, obey, runLoad } from "./commands.mjs";
import { clientFrame, makeMessages, serverFrame } from "./frames.mjs";

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {"echo" | "broadcast" | "open-close" | "idle"} kind
 * @property {number} connections
 * @property {number} depth - Messages in flight on each connection.
 * @property {"binary" | "text" | "utf8" | "json"} content
 * @property {number} size - Bytes of a message.
 * @property {boolean} [compress]
 * @property {boolean} [inPieces] - Whether the server may answer a message in several frames.
 */
/** @type {Job} */
const job = JSON.parse(process.argv[2] ?? "{}");
const { port, kind, connections, depth, compress = false, inPieces = false } = job;
const messages = makeMessages(job.content, job.size);

/** What `batchesFor` made, by window bits. */
const prepared = new Map();

/** @type {Client[]} */
let clients = [];

const startLoad = { echo, broadcast, "open-close": openAndClose }[kind];
await obey({
  open: openAll,
  run: (milliseconds) => runLoad(milliseconds, startLoad),
  hold,
  close: closeAll,
});

async function openClient(path) {
  const client = await Client.open(port, { request: handshake({ path, compress }), compress });
  client.onClose = () => {
    if (!client.isClosing) fail(new Error("The server ended a connection."));
  };
  return client;
}

async function openAll() {
  if (kind === "open-close") return;
  const path = kind === "broadcast" ? "/broadcast" : "/";
  clients = await inGroups(connections, () => openClient(path));
}

async function closeAll() {
  await closeClients(clients);
  clients = [];
}

/** Every connection sends a batch in one write, and the next one when the last was answered. */
function echo(load) {
  const { promise, resolve } = deferred();
  let busy = clients.length;
  for (const [index, client] of clients.entries()) {
    const batches = batchesFor(client.windowBits);
    let next = index % batches.length;
    const { answers, payload } = batches[next];
    const send = () => {
      client.write(batches[next].frames);
      next = (next + 1) % batches.length;
    };
    const onBatch = () => {
      load.count += depth;
      if (!load.isOver) send();
      else if (--busy === 0) resolve();
    };
    client.onBytes =
      compress || inPieces ? countMessages(payload, depth, onBatch) : countBytes(answers, onBatch);
    send();
  }
  return promise;
}

/** Made once: the frames of each batch in one buffer, and what must come back. */
function batchesFor(windowBits) {
  let batches = prepared.get(windowBits);
  if (batches === undefined) {
    batches = messages.map((_, first) => {
      const batch = Array.from(
        { length: depth },
        (_, i) => messages[(first + i) % messages.length],
      );
      return {
        frames: Buffer.concat(batch.map((message) => clientFrame(message, windowBits))),
        answers: Buffer.concat(batch.map(serverFrame)),
        payload: Buffer.concat(batch.map((message) => message.payload)),
      };
    });
    prepared.set(windowBits, batches);
  }
  return batches;
}

/** A publisher sends the next message when everybody has got the last one. */
async function broadcast(load) {
  const publisher = await openClient("/publish");
  const { promise, resolve } = deferred();
  const [{ frames, answers, payload }] = batchesFor(undefined);
  let due = 0;
  const publish = () => {
    due = clients.length;
    publisher.write(frames);
  };
  const onDelivery = () => {
    load.count += depth;
    if (--due > 0) return;
    if (load.isOver) resolve();
    else publish();
  };
  for (const client of clients) {
    client.onBytes = inPieces
      ? countMessages(payload, depth, onDelivery)
      : countBytes(answers, onDelivery);
  }
  publish();
  await promise;
  publisher.close();
}

/** Every worker opens a connection, closes it by the closing handshake, and begins anew. */
async function openAndClose(load) {
  const request = handshake({ path: "/", compress: false });
  const work = async () => {
    while (!load.isOver) {
      const client = await Client.open(port, { request, compress: false });
      let answer = 0;
      client.onBytes = (bytes) => {
        if (answer === 0 && bytes[0] !== 0x88) fail(new Error("A Close was not answered by one."));
        answer += bytes.length;
      };
      client.close();
      await client.closed;
      if (answer !== 4) fail(new Error("A Close was not echoed."));
      load.count++;
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
}

/** An idle connection that compresses has compressed before: only then it has its contexts. */
async function hold() {
  if (!compress) return;
  await inGroups(clients.length, (index) => {
    const client = clients[index];
    const { promise, resolve } = deferred();
    const [{ frames, payload }] = batchesFor(client.windowBits);
    client.onBytes = countMessages(payload, depth, resolve);
    client.write(frames);
    return promise;
  });
}

// Halyard as its README shows it: whole messages by `for await`.

import { createServer } from "node:http";
import process from "node:process";
import { compress, listen } from "./common.mjs";

const entry = process.env.HALYARD_ENTRY ?? new URL("../../dist/index.js", import.meta.url).href;
const { compose, handleUpgrades, prepareMessage, webSockets } = await import(entry);

/** @type {Set<import("halyard").WebSocketConnection>} */
const members = new Set();

const handler = async (request) => {
  const socket = await request.webSockets.accept();
  if (request.url === "/broadcast") return join(socket);
  if (request.url === "/publish") return publish(socket);
  return process.env.HALYARD_PIECES ? echoPieces(socket) : echo(socket);
};

async function echo(socket) {
  for await (const message of socket) await socket.send(message.data);
}

async function echoPieces(socket) {
  const buffer = new Uint8Array(64 * 1024);
  let piece = await socket.receive(buffer);
  while (piece.type !== "close") {
    const { count, type, endOfMessage } = piece;
    await socket.send(buffer.subarray(0, count), { type, endOfMessage });
    piece = await socket.receive(buffer);
  }
}

async function join(socket) {
  members.add(socket);
  for await (const _ of socket);
  members.delete(socket);
}

async function publish(socket) {
  for await (const message of socket) {
    // Builds from before prepareMessage encode for every member.
    const prepared = prepareMessage?.(message.data) ?? message.data;
    for (const member of members) void member.send(prepared);
  }
}

// A build without the option declines the offer, and the generator then refuses to measure it.
const options = compress ? { compression: true } : {};
const server = createServer(compose([webSockets(options), handler]));
handleUpgrades(server);
listen(server);

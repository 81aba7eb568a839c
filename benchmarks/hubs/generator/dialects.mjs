// What is said inside the WebSocket: the hub protocol as JSON and as MessagePack, and Socket.IO's.

import { Buffer } from "node:buffer";
import { decode, encode } from "@msgpack/msgpack";

/** @typedef {import("../../generator/frames.mjs").Message} Message */

/**
 * @typedef {object} Answer
 * @property {"result" | "event" | "item" | "end" | "ping" | "close" | "open" | "error"} type
 * @property {number} [id] - Of the call that is answered.
 * @property {unknown} [value] - The result, the item, or the event's one argument.
 */

/**
 * @typedef {object} Dialect
 * @property {"separator" | "prefix" | "frame"} framing - What ends a message: the byte 0x1E, the
 *   length before it, or the end of the WebSocket message.
 * @property {string} path
 * @property {readonly Message[]} greetings - What a client says before its first call.
 * @property {boolean} isGreeted - Whether the server speaks first.
 * @property {(target: string, args: unknown[], id?: number) => Message} call - Without an id no
 *   answer is wanted.
 * @property {(target: string, args: unknown[], id: number) => Message} [stream]
 * @property {(message: Uint8Array) => Answer} read - One message, without what frames it.
 */

const TEXT = 1;
const BINARY = 2;

/** The separator of JSON messages, and of handshakes in every protocol. */
export const recordSeparator = 0x1e;

const greeting = (protocol) => ({
  opcode: TEXT,
  payload: Buffer.from(`${JSON.stringify({ protocol, version: 1 })}\x1e`),
});

/** @type {Dialect} */
const json = {
  framing: "separator",
  path: "/hub",
  greetings: [greeting("json")],
  isGreeted: false,
  call: (target, args, id) =>
    jsonMessage({ type: 1, ...invocationId(id), target, arguments: args }),
  stream: (target, args, id) =>
    jsonMessage({ type: 4, ...invocationId(id), target, arguments: args }),
  read(message) {
    const { type, invocationId, result, item, error, ...others } = JSON.parse(text(message));
    const isHandshake = type === undefined && Object.keys(others).length === 0;
    if (isHandshake && error === undefined) return { type: "open" };
    return hubAnswer(type, invocationId, error, { result, item, args: others.arguments });
  },
};

function jsonMessage(message) {
  return { opcode: TEXT, payload: Buffer.from(`${JSON.stringify(message)}\x1e`) };
}

const invocationId = (id) => (id === undefined ? {} : { invocationId: String(id) });

/** @type {Dialect} */
const messagepack = {
  framing: "prefix",
  path: "/hub",
  greetings: [greeting("messagepack")],
  isGreeted: false,
  call: (target, args, id) =>
    packMessage([1, {}, id === undefined ? null : String(id), target, args, []]),
  stream: (target, args, id) => packMessage([4, {}, String(id), target, args, []]),
  read(message) {
    // The answer to the handshake is JSON in every protocol.
    if (message[0] === 0x7b) return json.read(message);
    const [type, ...fields] = decode(message);
    if (type === 1) return hubAnswer(type, undefined, undefined, { args: fields[3] });
    if (type === 2) return hubAnswer(type, fields[1], undefined, { item: fields[2] });
    if (type === 3) {
      const [, id, kind, value] = fields;
      const result = kind === 3 ? { result: value } : {};
      return hubAnswer(type, id, kind === 1 ? value : undefined, result);
    }
    return hubAnswer(type, undefined, undefined, {});
  },
};

function packMessage(message) {
  const body = encode(message);
  return { opcode: BINARY, payload: Buffer.concat([varint(body.length), body]) };
}

function varint(length) {
  const bytes = [];
  for (let rest = length; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

function hubAnswer(type, invocationId, error, { result, item, args }) {
  const id = Number(invocationId);
  if (error !== undefined) return { type: "error", value: error };
  if (type === 1) return { type: "event", value: args[0] };
  if (type === 2) return { type: "item", id, value: item };
  if (type === 3) {
    return result === undefined ? { type: "end", id } : { type: "result", id, value: result };
  }
  if (type === 6) return { type: "ping" };
  if (type === 7) return { type: "close" };
  return { type: "error", value: `a message of type ${type}` };
}

/** Socket.IO's own encoding, its default; no transport but the WebSocket. @type {Dialect} */
const socketio = {
  framing: "frame",
  path: "/socket.io/?EIO=4&transport=websocket",
  greetings: [{ opcode: TEXT, payload: Buffer.from("40") }],
  isGreeted: true,
  call: (target, args, id) => ({
    opcode: TEXT,
    payload: Buffer.from(`42${id ?? ""}${JSON.stringify([target, ...args])}`),
  }),
  read(message) {
    const packet = text(message);
    if (packet.startsWith("0{") || packet.startsWith("40{")) return { type: "open" };
    if (packet === "2") return { type: "ping" };
    const [, kind, id, data] = /^4([23])(\d*)(\[.*)$/s.exec(packet) ?? [];
    if (kind === "3") return { type: "result", id: Number(id), value: JSON.parse(data)[0] };
    if (kind === "2") return { type: "event", value: JSON.parse(data)[1] };
    return { type: "error", value: packet };
  },
};

function text(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
}

/** @type {Readonly<Record<string, Dialect>>} */
export const dialects = { json, messagepack, socketio };

// What the generator sends and what it expects, made before anything is measured.

import { Buffer } from "node:buffer";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";

const TEXT = 1;
const BINARY = 2;

/** The same for all connections: the generator is no client to take as an example. */
const maskKey = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

/** @typedef {{ opcode: number, payload: Buffer }} Message */

/**
 * The messages of a scenario, in the order in which a connection sends them, again and again.
 *
 * @param {"binary" | "text" | "utf8" | "json"} content
 * @param {number} size - Bytes of each.
 * @returns {Message[]}
 */
export function makeMessages(content, size) {
  switch (content) {
    case "binary":
      return [{ opcode: BINARY, payload: Buffer.from(Array.from({ length: size }, (_, i) => i)) }];
    case "text": {
      const text = "Hoist the signal flags, quickly. ";
      return [{ opcode: TEXT, payload: Buffer.alloc(size, text) }];
    }
    case "utf8":
      return [{ opcode: TEXT, payload: everyThirdBeyondAscii(size) }];
    case "json": {
      // Many different ones, or a window that is kept would find the whole message in it.
      const random = randomNumbers(1);
      return Array.from({ length: 64 }, () => ({ opcode: TEXT, payload: json(size, random) }));
    }
    default:
      throw new Error(`There is no content ${content}.`);
  }
}

/** Text of which every third character takes two, three or four bytes. */
function everyThirdBeyondAscii(size) {
  const beyond = ["é", "中", "ß", "文", "Ж", "🚩"];
  let text = "";
  for (let i = 0; ; i++) {
    const next = `${text}ab${beyond[i % beyond.length]}`;
    if (Buffer.byteLength(next) > size) break;
    text = next;
  }
  return Buffer.from(text.padEnd(text.length + size - Buffer.byteLength(text), "a"));
}

/** A list of records such as a dashboard gets, padded to the size. */
function json(size, random) {
  const names = ["harbour", "pilot", "anchor", "signal", "lantern", "compass", "rigging", "keel"];
  const pick = () => names[Math.floor(random() * names.length)];
  const records = [];
  const text = (padding) => JSON.stringify({ type: "update", records, padding });
  while (true) {
    records.push({
      id: Math.floor(random() * 1e6),
      name: `${pick()} ${pick()}`,
      price: Math.round(random() * 1e5) / 100,
      active: random() < 0.5,
      at: new Date(1.7e12 + Math.floor(random() * 1e10)).toISOString(),
    });
    if (text("").length > size) break;
  }
  records.pop();
  return Buffer.from(text("x".repeat(size - text("").length)));
}

/** The same numbers in every run and in every process. */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * @param {Message} message
 * @param {number | undefined} windowBits - Given: compressed, on its own, for a window of that size.
 *   A peer that keeps its window can read that as well.
 */
export function clientFrame({ opcode, payload }, windowBits) {
  const data = windowBits === undefined ? payload : deflate(payload, windowBits);
  const header = serverHeader(opcode | (windowBits === undefined ? 0x80 : 0xc0), data.length);
  header[1] |= 0x80;
  const masked = Buffer.from(data);
  for (let i = 0; i < masked.length; i++) masked[i] ^= maskKey[i & 3];
  return Buffer.concat([header, maskKey, masked]);
}

/** The frame with which a server answers that does not compress. */
export function serverFrame({ opcode, payload }) {
  return Buffer.concat([serverHeader(opcode | 0x80, payload.length), payload]);
}

function serverHeader(first, length) {
  if (length < 126) return Buffer.from([first, length]);
  if (length < 65536) return Buffer.from([first, 126, length >> 8, length & 0xff]);
  const header = Buffer.alloc(10);
  header.writeUIntBE(length, 4, 6);
  header[0] = first;
  header[1] = 127;
  return header;
}

/** Close with 1000. */
export const closeFrame = clientFrame({ opcode: 8, payload: Buffer.from([0x03, 0xe8]) }, undefined);

function deflate(payload, windowBits) {
  const data = deflateRawSync(payload, { windowBits, finishFlush: constants.Z_SYNC_FLUSH });
  return data.subarray(0, -4);
}

/** What RFC 7692 takes away from the end of a compressed message. */
export const endOfDeflated = Buffer.from([0, 0, 0xff, 0xff]);

/**
 * Messages behind one another, each with its end. It makes no difference whether the peer keeps its
 * window: one that does not never refers to the messages before.
 */
export function inflate(data) {
  return inflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
}

// The cheapest program on node:net that answers each frame: the yardstick for what Node itself
// costs. It believes whatever it reads (no validation, no limits, no fragments put together, no
// back-pressure), makes no object per frame, and answers from the memory it read into, in one write
// per read. Do not take it for a server.

import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { listen } from "./common.mjs";

/** @type {Set<import("node:net").Socket>} */
const members = new Set();

/** The view of words costs as much as a loop over this many bytes; one view serves a whole read. */
const viewFrom = 128;
const wordsFrom = 16;

listen(
  createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    let request = "";
    const onHandshake = (chunk) => {
      request += chunk.latin1Slice(0, chunk.length);
      if (!request.endsWith("\r\n\r\n")) return;
      const key = /sec-websocket-key: *(\S+)/i.exec(request)?.[1];
      const accept = createHash("sha1")
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest("base64");
      const path = request.slice(4, request.indexOf(" ", 4));
      socket.off("data", onHandshake);
      socket.on("data", path === "/publish" ? publish : echo(socket));
      if (path === "/broadcast") {
        members.add(socket);
        socket.on("close", () => members.delete(socket));
      }
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        "latin1",
      );
    };
    socket.on("data", onHandshake);
  }),
);

/**
 * An answer is shorter than its frame by the four bytes of the mask, so the answers of one read fit
 * where the frames were, each moved to the front by a multiple of four: words stay aligned. A
 * payload that is cut across reads leaves piece by piece; only a cut header is kept.
 */
function echo(socket) {
  /** Payload bytes of the current frame that have not come yet. */
  let remaining = 0;
  /** The mask as a word in the order of memory, turned to the next payload byte. */
  let mask = 0;
  /** The beginning of a header. */
  let rest;

  return (chunk) => {
    if (rest !== undefined) {
      chunk = Buffer.concat([rest, chunk]);
      rest = undefined;
    }
    const length = chunk.length;
    let words;
    let input = 0;
    let output = 0;
    let isClosing = false;
    while (input < length) {
      if (remaining === 0) {
        if (length - input < 6) break;
        const size = chunk[input + 1] & 0x7f;
        if (size < 126) {
          remaining = size;
          chunk[output] = chunk[input];
          chunk[output + 1] = size;
          input += 2;
          output += 2;
        } else {
          const header = size === 126 ? 4 : 10;
          if (length - input < header + 4) break;
          remaining =
            size === 126
              ? (chunk[input + 2] << 8) | chunk[input + 3]
              : chunk.readUIntBE(input + 4, 6);
          for (let end = input + header; input < end; input++) {
            chunk[output++] = chunk[input];
          }
          chunk[output - header + 1] = size;
        }
        if (chunk[output - 2] === 0x88 && size < 126) isClosing = true;
        mask =
          chunk[input] |
          (chunk[input + 1] << 8) |
          (chunk[input + 2] << 16) |
          (chunk[input + 3] << 24);
        input += 4;
      }
      const count = Math.min(remaining, length - input);
      const end = input + count;
      if (count >= wordsFrom && length >= viewFrom && ((input - output) & 3) === 0) {
        words ??= new Int32Array(chunk.buffer, 0, chunk.buffer.byteLength >> 2);
        while (((chunk.byteOffset + input) & 3) !== 0) {
          chunk[output++] = chunk[input++] ^ mask;
          mask = (mask >>> 8) | (mask << 24);
        }
        const last = (chunk.byteOffset + end) >> 2;
        let from = (chunk.byteOffset + input) >> 2;
        let to = (chunk.byteOffset + output) >> 2;
        const done = (last - from) << 2;
        // Four at a time are a quarter faster than one.
        for (const fours = last - 3; from < fours; from += 4, to += 4) {
          words[to] = words[from] ^ mask;
          words[to + 1] = words[from + 1] ^ mask;
          words[to + 2] = words[from + 2] ^ mask;
          words[to + 3] = words[from + 3] ^ mask;
        }
        for (; from < last; from++, to++) words[to] = words[from] ^ mask;
        input += done;
        output += done;
      }
      const second = mask >> 8;
      const third = mask >> 16;
      const fourth = mask >> 24;
      for (; end - input >= 4; input += 4, output += 4) {
        chunk[output] = chunk[input] ^ mask;
        chunk[output + 1] = chunk[input + 1] ^ second;
        chunk[output + 2] = chunk[input + 2] ^ third;
        chunk[output + 3] = chunk[input + 3] ^ fourth;
      }
      while (input < end) {
        chunk[output++] = chunk[input++] ^ mask;
        mask = (mask >>> 8) | (mask << 24);
      }
      remaining -= count;
    }
    if (input < length) rest = chunk.subarray(input);
    if (output > 0) socket.write(output === length ? chunk : chunk.subarray(0, output));
    if (isClosing) socket.end();
  };
}

/** Takes what it reads for one whole text message below 64 KiB, which is what the generator sends. */
function publish(chunk) {
  const size = chunk[1] & 0x7f;
  const header = size < 126 ? 2 : 4;
  // Copied, because the payload is moved over it.
  const mask = Buffer.from(chunk.subarray(header, header + 4));
  for (let at = header + 4; at < chunk.length; at++) {
    chunk[at - 4] = chunk[at] ^ mask[(at - header) & 3];
  }
  const frame = chunk.subarray(0, chunk.length - 4);
  frame[1] = size;
  if (frame[0] === 0x88) this.end(frame);
  else for (const member of members) member.write(frame);
}

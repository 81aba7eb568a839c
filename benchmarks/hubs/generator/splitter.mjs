// Finds messages in what a server sends. They may stand several in a WebSocket frame or be cut over
// frames, as the server likes. Bytes are looked at only where lengths stand, or a separator is due.

import { Buffer } from "node:buffer";
import { recordSeparator } from "./dialects.mjs";

export class Splitter {
  /** Gets each message; the bytes are gone after the call. */
  onMessage;
  /** Gets the frame that closes. */
  onClose = () => {};
  /** The usual length of a message with its separator: that one is not searched for. */
  usualLength = 0;
  /** @type {"separator" | "prefix" | "frame"} */
  framing;

  #header = Buffer.alloc(10);
  #headerLength = 0;
  /** Payload bytes of the current frame that have not come yet. */
  #remaining = 0;
  #isFinal = true;
  #isControl = false;
  /** The beginning of a message. @type {Buffer | undefined} */
  #rest;

  /**
   * @param {"separator" | "prefix" | "frame"} framing
   * @param {(bytes: Uint8Array, from: number, to: number) => void} onMessage
   */
  constructor(framing, onMessage) {
    this.framing = framing;
    this.onMessage = onMessage;
  }

  read(bytes) {
    const length = bytes.length;
    let at = 0;
    while (at < length) {
      if (this.#remaining > 0) {
        const end = Math.min(at + this.#remaining, length);
        this.#remaining -= end - at;
        this.#payload(bytes, at, end);
        at = end;
        continue;
      }
      if (this.#headerLength === 0 && length - at >= 4 && bytes[at + 1] < 127) {
        const size = bytes[at + 1];
        this.#frame(bytes[at], size < 126 ? size : (bytes[at + 2] << 8) | bytes[at + 3]);
        at += size < 126 ? 2 : 4;
        continue;
      }
      this.#header[this.#headerLength++] = bytes[at++];
      if (this.#headerLength < 2) continue;
      const size = this.#header[1];
      if (this.#headerLength < (size < 126 ? 2 : size === 126 ? 4 : 10)) continue;
      this.#headerLength = 0;
      if (size < 126) this.#frame(this.#header[0], size);
      else if (size === 126) this.#frame(this.#header[0], this.#header.readUInt16BE(2));
      else this.#frame(this.#header[0], this.#header.readUIntBE(4, 6));
    }
  }

  #frame(first, size) {
    const opcode = first & 0x0f;
    this.#isControl = opcode > 2;
    this.#isFinal = (first & 0x80) !== 0;
    this.#remaining = size;
    if (opcode === 8) this.onClose();
  }

  #payload(bytes, from, end) {
    if (this.#isControl) return;
    switch (this.framing) {
      case "separator":
        return this.#splitBySeparator(bytes, from, end);
      case "prefix":
        return this.#splitByPrefix(bytes, from, end);
      default:
        if (this.#remaining > 0 || !this.#isFinal) return this.#keep(bytes, from, end);
        if (this.#rest === undefined) this.onMessage(bytes, from, end);
        else this.#complete(bytes, from, end);
    }
  }

  #splitBySeparator(bytes, from, end) {
    let at = from;
    while (at < end) {
      const due = at + this.usualLength - 1;
      let last = -1;
      if (this.#rest === undefined && due >= at && due < end && bytes[due] === recordSeparator) {
        last = due;
      } else {
        last = bytes.indexOf(recordSeparator, at);
        if (last < 0 || last >= end) return this.#keep(bytes, at, end);
      }
      if (this.#rest === undefined) this.onMessage(bytes, at, last);
      else this.#complete(bytes, at, last);
      at = last + 1;
      // After the handshake MessagePack takes over, perhaps in the same frame.
      if (this.framing === "prefix") return this.#payload(bytes, at, end);
    }
  }

  #splitByPrefix(bytes, from, end) {
    if (this.#rest !== undefined) {
      const whole = Buffer.concat([this.#rest, bytes.subarray(from, end)]);
      this.#rest = undefined;
      return this.#splitByPrefix(whole, 0, whole.length);
    }
    let at = from;
    while (at < end) {
      let size = 0;
      let body = at;
      let shift = 0;
      let isWhole = false;
      while (body < end && !isWhole) {
        const byte = bytes[body++];
        size |= (byte & 0x7f) << shift;
        shift += 7;
        isWhole = byte < 0x80;
      }
      if (!isWhole || end - body < size) return this.#keep(bytes, at, end);
      this.onMessage(bytes, body, body + size);
      at = body + size;
    }
  }

  #keep(bytes, from, end) {
    const piece = bytes.subarray(from, end);
    this.#rest = this.#rest === undefined ? Buffer.from(piece) : Buffer.concat([this.#rest, piece]);
  }

  #complete(bytes, from, end) {
    const whole = Buffer.concat([this.#rest, bytes.subarray(from, end)]);
    this.#rest = undefined;
    this.onMessage(whole, 0, whole.length);
  }
}

// One connection of the generator: the handshake, and then two ways to count answers.

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { closeFrame, endOfDeflated, inflate } from "./frames.mjs";
import { open } from "./transport.mjs";

const key = "aGFseWFyZCBiZW5jaG1hcg==";
const accept = createHash("sha1")
  .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  .digest("base64");

/** @param {{ path: string, compress: boolean }} options */
export function handshake({ path, compress }) {
  // What browsers offer: both sides may keep their windows.
  const extension = compress
    ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    : "";
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n${extension}\r\n`,
    "latin1",
  );
}

export class Client {
  /** Gets the bytes after the handshake. @type {(bytes: Uint8Array) => void} */
  onBytes = () => {};
  onClose = () => {};
  /** The agreed bits of this side's window; `undefined` without compression. */
  windowBits;
  /** Whether the end is expected. */
  isClosing = false;
  /** @type {Promise<void>} */
  closed;

  #connection;

  /**
   * Opens a connection; resolves after a handshake that was checked. What comes right behind it is
   * given to `onBytes` if there is one, and wrong otherwise.
   */
  static async open(port, { request, compress = false, onBytes }) {
    const client = new Client();
    let head = Buffer.alloc(0);
    let onAnswer;
    let onFailure;
    const answered = new Promise((resolve, reject) => {
      onAnswer = resolve;
      onFailure = reject;
    });
    let isOpen = false;
    let markClosed;
    client.closed = new Promise((resolve) => {
      markClosed = resolve;
    });
    client.#connection = await open(port, {
      onData(bytes) {
        if (isOpen) return client.onBytes(bytes);
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        isOpen = true;
        try {
          client.windowBits = checkAnswer(head.toString("latin1", 0, end), compress);
          if (onBytes !== undefined) client.onBytes = onBytes;
          else if (head.length > end + 4) {
            throw new Error("Bytes came right behind the handshake.");
          }
          onAnswer();
          if (head.length > end + 4) client.onBytes(head.subarray(end + 4));
        } catch (error) {
          onFailure(error);
        }
      },
      onClose() {
        onFailure(new Error("The server ended a handshake."));
        markClosed();
        client.onClose();
      },
    });
    client.#connection.write(request);
    await answered;
    return client;
  }

  write(bytes) {
    this.#connection.write(bytes);
  }

  /** Asks for the end; the server ends TCP after its answer. */
  close() {
    this.isClosing = true;
    this.#connection.write(closeFrame);
  }

  end() {
    this.#connection.end();
  }

  destroy() {
    this.#connection.destroy();
  }
}

/** @returns {number | undefined} The bits of the client's window, if compression was agreed on. */
function checkAnswer(head, compress) {
  if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`The server answered: ${head}`);
  if (!head.includes(accept)) throw new Error("The accept hash is wrong.");
  const extension = /^sec-websocket-extensions: *(.*)$/im.exec(head)?.[1];
  if (!compress) {
    if (extension !== undefined) throw new Error("An extension was agreed on that nobody offered.");
    return undefined;
  }
  if (!extension?.includes("permessage-deflate")) {
    throw new Error("The server declined permessage-deflate.");
  }
  return Number(/client_max_window_bits *= *"?(\d+)/.exec(extension)?.[1] ?? 15);
}

/**
 * Counts answers by their bytes alone, which costs next to nothing. Only the first ones are
 * compared, byte by byte.
 *
 * @param {Buffer} expected - The answers to one batch.
 * @param {() => void} onBatch
 */
export function countBytes(expected, onBatch) {
  let received = 0;
  let isChecked = false;
  return (bytes) => {
    if (!isChecked) {
      const due = expected.subarray(received, received + bytes.length);
      if (due.compare(bytes) !== 0) throw new Error("An answer is not what was expected.");
    }
    received += bytes.length;
    if (received < expected.length) return;
    if (received > expected.length) throw new Error("More bytes came than were expected.");
    isChecked = true;
    received = 0;
    onBatch();
  };
}

/**
 * Counts answers by their headers, where their lengths are not known: when a server answers piece
 * by piece, or compresses. The first batch is put together and compared.
 *
 * @param {Buffer} expected - The payloads of the answers to the first batch, uncompressed.
 * @param {number} depth - Messages of a batch.
 * @param {() => void} onBatch
 */
export function countMessages(expected, depth, onBatch) {
  const header = Buffer.alloc(10);
  let headerLength = 0;
  let remaining = 0;
  let isFinal = false;
  let isCompressed = false;
  let isChecked = false;
  let count = 0;
  const pieces = [];

  const endFrame = () => {
    if (!isFinal) return;
    if (!isChecked && isCompressed) pieces.push(endOfDeflated);
    if (++count < depth) return;
    count = 0;
    if (!isChecked) {
      const batch = Buffer.concat(pieces);
      const plain = isCompressed ? inflate(batch) : batch;
      if (!plain.equals(expected)) throw new Error("An answer is not what was expected.");
      isChecked = true;
      pieces.length = 0;
    }
    onBatch();
  };

  return (bytes) => {
    let at = 0;
    while (at < bytes.length) {
      if (remaining > 0) {
        const count = Math.min(remaining, bytes.length - at);
        if (!isChecked) pieces.push(Buffer.from(bytes.subarray(at, at + count)));
        remaining -= count;
        at += count;
        if (remaining === 0) endFrame();
        continue;
      }
      header[headerLength++] = bytes[at++];
      if (headerLength < 2) continue;
      const size = header[1];
      if (headerLength < (size < 126 ? 2 : size === 126 ? 4 : 10)) continue;
      if ((header[0] & 0x0f) > 2) throw new Error(`An unexpected frame: ${header[0]}.`);
      remaining =
        size < 126 ? size : size === 126 ? header.readUInt16BE(2) : header.readUIntBE(4, 6);
      isFinal = (header[0] & 0x80) !== 0;
      if ((header[0] & 0x0f) !== 0) isCompressed = (header[0] & 0x40) !== 0;
      headerLength = 0;
      if (remaining === 0) endFrame();
    }
  };
}

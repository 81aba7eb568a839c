import { ByteWriter } from "../hub-protocol/byte-writer.js";
import type { HubProtocol } from "../hub-protocol/hub-protocol.js";
import type { HubMessage } from "../hub-protocol/messages.js";
import { SharedBytes } from "./transport.js";

/** One writer encodes all messages for many: what is kept of it is copied. */
const writer = new ByteWriter(Buffer.allocUnsafeSlow, 16 * 1024);

/** Memory beyond this, which a large message took, is given back. */
const memoryLimit = 1024 * 1024;

/** A message for many connections, encoded at most once in each protocol that they speak. */
export class SerializedMessage {
  readonly #message: HubMessage;
  readonly #encodings = new Map<HubProtocol, SharedBytes>();

  constructor(message: HubMessage) {
    this.#message = message;
  }

  /**
   * The message in `protocol`.
   * @throws What the application's values cause.
   */
  in(protocol: HubProtocol): SharedBytes {
    let shared = this.#encodings.get(protocol);
    if (shared === undefined) {
      shared = new SharedBytes(encode(protocol, this.#message), protocol.transferFormat);
      this.#encodings.set(protocol, shared);
    }
    return shared;
  }
}

function encode(protocol: HubProtocol, message: HubMessage): Uint8Array {
  // A value whose toJSON sends to many itself makes this run within itself: each has its own range.
  const start = writer.length;
  try {
    protocol.encode(message, writer);
    return Buffer.copyBytesFrom(writer.bytes, start, writer.length - start);
  } finally {
    writer.length = start;
    if (start === 0) writer.trim(memoryLimit);
  }
}

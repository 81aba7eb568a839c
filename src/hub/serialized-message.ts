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
  writer.length = 0;
  protocol.encode(message, writer);
  const bytes = Buffer.copyBytesFrom(writer.bytes, 0, writer.length);
  writer.length = 0;
  writer.trim(memoryLimit);
  return bytes;
}

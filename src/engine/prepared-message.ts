import { firstByte, headerLengthFor, Opcode, writeHeader } from "../protocol/frame.js";
import type { MessageType } from "../protocol/protocol.js";

/**
 * A message made once to be sent to many sockets: encoded once, and compressed at most once for all
 * those that agreed on the same kind of compression. Made by {@link prepareMessage}.
 */
export class PreparedMessage {
  readonly type: MessageType;
  /** The payload; a string's is UTF-8. */
  readonly bytes: Uint8Array;
  readonly #frames = new Map<string, Uint8Array | Promise<Uint8Array>>();

  /** @internal Use {@link prepareMessage}. */
  constructor(type: MessageType, bytes: Uint8Array) {
    this.type = type;
    this.bytes = bytes;
  }

  /** @internal The message as one unmasked frame. */
  frame(): Uint8Array {
    let frame = this.#frames.get("") as Uint8Array | undefined;
    if (frame === undefined) {
      frame = encode(this.type, this.bytes, false);
      this.#frames.set("", frame);
    }
    return frame;
  }

  /**
   * @internal The message as one unmasked compressed frame.
   * @param key - Names the kind of compression.
   * @param compress - Called for the first socket of that kind.
   */
  compressedFrame(
    key: string,
    compress: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>,
  ): Uint8Array | Promise<Uint8Array> {
    const known = this.#frames.get(key);
    if (known !== undefined) return known;
    const payload = compress(this.bytes);
    if (!(payload instanceof Promise)) {
      const frame = encode(this.type, payload, true);
      this.#frames.set(key, frame);
      return frame;
    }
    const frame = payload.then((bytes) => {
      const encoded = encode(this.type, bytes, true);
      this.#frames.set(key, encoded);
      return encoded;
    });
    this.#frames.set(key, frame);
    return frame;
  }
}

/**
 * Prepares a message for sending it to many sockets with `socket.send(message)`.
 *
 * @param data - A string (text) or bytes (binary), which must not be changed afterwards.
 * @example
 * const message = prepareMessage(JSON.stringify(update));
 * for (const socket of sockets) void socket.send(message);
 */
export function prepareMessage(data: string | Uint8Array): PreparedMessage {
  return typeof data === "string"
    ? new PreparedMessage("text", Buffer.from(data, "utf8"))
    : new PreparedMessage("binary", data);
}

function encode(type: MessageType, payload: Uint8Array, isCompressed: boolean): Uint8Array {
  const { length } = payload;
  const frame = Buffer.allocUnsafeSlow(headerLengthFor(length, false) + length);
  const first = firstByte(Opcode[type], true, isCompressed);
  frame.set(payload, writeHeader(frame, 0, first, length, undefined));
  return frame;
}

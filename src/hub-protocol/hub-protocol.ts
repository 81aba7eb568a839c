import type { ByteWriter } from "./byte-writer.js";
import type { HubMessage } from "./messages.js";

/** Whether a protocol's messages are UTF-8 text or any bytes, as negotiate spells it. */
export type TransferFormat = "Text" | "Binary";

/** Received bytes and how far they are read: `bytes[at, end)` is to come. Node passes a Buffer. */
export interface HubInput {
  bytes: Uint8Array;
  at: number;
  end: number;
}

/**
 * An encoding of hub messages. Implementations keep nothing between calls, so that one serves all
 * connections of a server.
 */
export interface HubProtocol {
  /** As the handshake names it, for example `"json"`. */
  readonly name: string;
  readonly transferFormat: TransferFormat;
  /**
   * Reads the next message and moves `input.at` behind it. Messages of unknown types are passed
   * over. What it returns refers to nothing in `input`.
   *
   * @param maxMessageSize - Largest message in bytes, framing included; `Infinity` for no limit.
   * @returns `undefined` when the rest is not a whole message; `input.at` stands at its beginning.
   * @throws HubProtocolError when the bytes are no message, or one that is too large, or will be.
   */
  parse(input: HubInput, maxMessageSize: number): HubMessage | undefined;
  /**
   * Writes a message with its framing. It may call the application's code (a `toJSON`, a getter),
   * which must not come back to the same `out`.
   *
   * @throws What the application's values cause, for example TypeError for a cycle; then what was
   *   written must be taken back by the caller ({@link ByteWriter.length}).
   */
  encode(message: HubMessage, out: ByteWriter): void;
}

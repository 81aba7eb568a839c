import { InvalidStateError } from "../errors.js";
import { ByteWriter } from "../hub-protocol/byte-writer.js";
import type { HubProtocol } from "../hub-protocol/hub-protocol.js";
import type { HubMessage } from "../hub-protocol/messages.js";

/** Whoever has bytes in the shared output. */
export interface OutputOwner {
  /** Takes what was written on its behalf; the bytes are used again afterwards. */
  deliver(bytes: Uint8Array, start: number, end: number): void;
}

/** A run of one owner beyond this is delivered within the turn. */
const runLimit = 32 * 1024;
/** Memory beyond this, which a large message took, is given back. */
const memoryLimit = 1024 * 1024;

/**
 * Where hub connections encode what they send.
 *
 * One writer serves all of them, and what one connection writes without another in between is
 * delivered in one piece, at the latest at the end of the turn: the answers to many calls that came
 * together leave as one WebSocket frame, and nothing is allocated for any of them.
 */
export class Output {
  readonly #writer = new ByteWriter(Buffer.allocUnsafeSlow, 64 * 1024);
  #owner: OutputOwner | undefined;
  #start = 0;
  #isFlushScheduled = false;
  /** Deliveries that run, one within the other. */
  #deliveries = 0;
  #isEncoding = false;
  readonly #onTick = () => {
    this.#isFlushScheduled = false;
    this.flush();
  };

  /**
   * Encodes a message of `owner` behind what it has written; {@link written} or {@link takeBack} follows.
   *
   * @returns Where it begins.
   * @throws What the application's values cause, of which nothing stays written; InvalidStateError
   *   `ERR_SENT_WHILE_ENCODING` when one of them (`toJSON`, a getter) sends something itself.
   */
  encode(owner: OutputOwner, protocol: HubProtocol, message: HubMessage): number {
    const writer = this.claim(owner);
    const before = writer.length;
    this.#isEncoding = true;
    try {
      protocol.encode(message, writer);
    } catch (error) {
      writer.length = before;
      throw error;
    } finally {
      this.#isEncoding = false;
    }
    return before;
  }

  /** The writer, for bytes of `owner`; {@link written} follows. */
  claim(owner: OutputOwner): ByteWriter {
    if (this.#isEncoding) throw sentWhileEncoding();
    if (this.#owner !== owner) {
      this.flush();
      this.#owner = owner;
      this.#start = this.#writer.length;
    }
    return this.#writer;
  }

  /** What was claimed is written. */
  written(): void {
    if (this.#writer.length - this.#start > runLimit) {
      this.flush();
    } else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true;
      process.nextTick(this.#onTick);
    }
  }

  /** Takes a copy of what was encoded last, from where {@link encode} said, instead of sending it. */
  takeBack(start: number): Uint8Array {
    const writer = this.#writer;
    const bytes = Buffer.copyBytesFrom(writer.bytes, start, writer.length - start);
    writer.length = start;
    return bytes;
  }

  /** Delivers what is pending, if it is of `owner`, so that something else may follow it. */
  flushOf(owner: OutputOwner): void {
    if (this.#owner === owner) this.flush();
  }

  flush(): void {
    const owner = this.#owner;
    // A message that is being encoded is not to be cut; the tick is still to come.
    if (owner === undefined || this.#isEncoding) return;
    this.#owner = undefined;
    const writer = this.#writer;
    const start = this.#start;
    const end = writer.length;
    if (end > start) {
      this.#deliveries++;
      owner.deliver(writer.bytes, start, end);
      this.#deliveries--;
    }
    // A delivery may, by ending the connection, make somebody write: behind what it still reads.
    if (this.#owner !== undefined || this.#deliveries > 0) return;
    writer.length = 0;
    writer.trim(memoryLimit);
  }
}

function sentWhileEncoding(): InvalidStateError {
  return new InvalidStateError(
    "ERR_SENT_WHILE_ENCODING",
    "A toJSON method or a getter of a value that is being sent sends something itself; send that before or afterwards.",
  );
}

export const output = new Output();

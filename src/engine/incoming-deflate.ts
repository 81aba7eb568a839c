import { isAscii, isUtf8 } from "node:buffer";
import { ProtocolError } from "../errors.js";
import type { MessageType } from "../protocol/protocol.js";
import type { MessageDeflate } from "./deflate.js";
import { Gathering } from "./gathering.js";

/** Puts compressed messages together, whose pieces mean nothing by themselves, and inflates them. */
export class IncomingDeflate {
  readonly #deflate: MessageDeflate;
  #gathering: Gathering | undefined;
  /** Whether the last message is text that is all ASCII, which is cheaper to make a string of. */
  isAscii = false;

  constructor(deflate: MessageDeflate) {
    this.#deflate = deflate;
  }

  /** Bytes set aside for a compressed message that is not complete; none once `deflate` has ended. */
  get size(): number {
    if (this.#deflate.isEnded) this.#gathering = undefined;
    return this.#gathering?.capacity ?? 0;
  }

  /**
   * Takes a piece of a compressed message; its memory is not needed afterwards.
   *
   * @param announced - Bytes of the piece's frame that follow it.
   * @returns The message, or a promise of it, when the piece was its last. Unless it was promised,
   *   its memory may be used again by the next call.
   * @throws ViolationError when it is no valid data, too large, or text that is not UTF-8.
   */
  add(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    announced: number,
    endsMessage: boolean,
  ): Buffer | Promise<Buffer> | undefined {
    let message: Buffer | Promise<Buffer>;
    if (endsMessage && this.#gathering === undefined) {
      message = this.#deflate.inflate(chunk, start, end);
    } else {
      this.#gathering ??= new Gathering(type);
      this.#gathering.add(chunk, start, end, announced);
      if (!endsMessage) return undefined;
      const bytes = this.#gathering.takeBytes();
      this.#gathering = undefined;
      message = this.#deflate.inflate(bytes);
    }
    return message instanceof Promise
      ? message.then((inflated) => this.#checked(type, inflated))
      : this.#checked(type, message);
  }

  #checked(type: MessageType, message: Buffer): Buffer {
    this.isAscii = type === "text" && isAscii(message);
    if (type === "binary" || this.isAscii || isUtf8(message)) return message;
    throw new ProtocolError("ERR_INVALID_UTF8", "A text message is not UTF-8.", 1007);
  }
}

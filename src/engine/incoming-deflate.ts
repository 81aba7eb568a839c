import { isUtf8 } from "node:buffer";
import { ProtocolError } from "../errors.js";
import type { MessageType } from "../protocol/protocol.js";
import type { MessageDeflate } from "./deflate.js";
import { Gathering } from "./gathering.js";

/** Puts compressed messages together, whose pieces mean nothing by themselves, and inflates them. */
export class IncomingDeflate {
  readonly #deflate: MessageDeflate;
  #gathering: Gathering | undefined;

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
   * @returns The message, or a promise of it, when the piece was its last.
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
    let bytes = chunk.subarray(start, end);
    if (!endsMessage || this.#gathering !== undefined) {
      this.#gathering ??= new Gathering(type);
      this.#gathering.add(chunk, start, end, announced);
      if (!endsMessage) return undefined;
      bytes = this.#gathering.takeBytes();
      this.#gathering = undefined;
    }
    const message = this.#deflate.inflate(bytes);
    return message instanceof Promise
      ? message.then((inflated) => checked(type, inflated))
      : checked(type, message);
  }
}

function checked(type: MessageType, message: Buffer): Buffer {
  if (type === "binary" || isUtf8(message)) return message;
  throw new ProtocolError("ERR_INVALID_UTF8", "A text message is not UTF-8.", 1007);
}

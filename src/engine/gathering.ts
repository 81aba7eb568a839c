import type { MessageType } from "../protocol/protocol.js";

/** Small pieces are copied behind each other into blocks of this size. */
const blockSize = 4096;

/** Whether a view of `length` bytes keeps alive far more memory than it shows. */
export function isWasteful(chunk: Uint8Array, length: number): boolean {
  return length * 4 < chunk.buffer.byteLength;
}

/**
 * Collects the pieces of one message.
 *
 * Large pieces are kept as views of the read buffers they fill; small ones are copied together, so
 * that a message in a million fragments holds little more than its own bytes.
 */
export class Gathering {
  readonly type: MessageType;
  readonly #pieces: Uint8Array[] = [];
  #block: Buffer | undefined;
  #blockUsed = 0;
  /** Bytes collected. */
  size = 0;

  constructor(type: MessageType) {
    this.type = type;
  }

  add(chunk: Buffer, start: number, end: number): void {
    this.size += end - start;
    if (!isWasteful(chunk, end - start)) {
      this.#endBlock();
      this.#pieces.push(chunk.subarray(start, end));
      return;
    }
    for (let at = start; at < end; ) {
      if (this.#blockUsed === blockSize) this.#endBlock();
      this.#block ??= Buffer.allocUnsafeSlow(blockSize);
      const count = chunk.copy(this.#block, this.#blockUsed, at, end);
      this.#blockUsed += count;
      at += count;
    }
  }

  /** All bytes in one buffer; afterwards the collection is empty. */
  takeBytes(): Buffer {
    this.#endBlock();
    const bytes = Buffer.concat(this.#pieces, this.size);
    this.#pieces.length = 0;
    this.size = 0;
    return bytes;
  }

  #endBlock(): void {
    if (this.#block !== undefined) this.#pieces.push(this.#block.subarray(0, this.#blockUsed));
    this.#block = undefined;
    this.#blockUsed = 0;
  }
}

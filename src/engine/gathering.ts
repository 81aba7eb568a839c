import type { MessageType } from "../protocol/protocol.js";

const smallest = 4096;
/** However much a peer announces, no more than this many times what it has sent is set aside. */
const growth = 4;

/**
 * Collects the pieces of one message in one buffer of its own, so that a message in a million
 * fragments holds little more than its bytes and one in a single frame is copied once.
 */
export class Gathering {
  readonly type: MessageType;
  #buffer: Buffer | undefined;
  /** Bytes collected. */
  size = 0;

  constructor(type: MessageType) {
    this.type = type;
  }

  /** Bytes set aside, which is what counts as held. */
  get capacity(): number {
    return this.#buffer?.length ?? 0;
  }

  /**
   * Copies `chunk[start..end)` behind what is there.
   *
   * @param announced - Bytes that are known to follow: a frame's length is known from its header.
   */
  add(chunk: Buffer, start: number, end: number, announced: number): void {
    if (start === end) return;
    const size = this.size + end - start;
    if (size > this.capacity) this.#grow(size, size + announced);
    chunk.copy(this.#buffer as Buffer, this.size, start, end);
    this.size = size;
  }

  /** All bytes. The collection must not be used afterwards. */
  takeBytes(): Buffer {
    const buffer = this.#buffer ?? Buffer.alloc(0);
    this.#buffer = undefined;
    // A little room to spare costs less than another copy.
    if (this.size > buffer.length * 0.75) return buffer.subarray(0, this.size);
    return Buffer.copyBytesFrom(buffer, 0, this.size);
  }

  #grow(needed: number, announced: number): void {
    const capacity = Math.max(
      smallest,
      announced > needed ? Math.min(announced, needed * growth) : needed * 2,
    );
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.#buffer?.copy(larger, 0, 0, this.size);
    this.#buffer = larger;
  }
}

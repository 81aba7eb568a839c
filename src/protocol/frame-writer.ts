import { randomFillSync } from "node:crypto";
import { BufferView } from "./buffer-view.js";
import { copyRange } from "./copy-range.js";
import { headerLengthFor, maxHeaderBytes, writeHeader } from "./frame.js";
import { applyMask } from "./mask.js";

/**
 * Frames are written one behind the other into one slab that all connections share, so that what a
 * connection sends in one turn leaves in one write. A connection's bytes are contiguous unless
 * another connection wrote in between; then they are several chunks.
 */
export const slabSize = 128 * 1024;
/** From here on a payload is handed over as it is: a copy would cost more than a second chunk. */
export const copyLimit = 32 * 1024;

let slab = Buffer.allocUnsafeSlow(slabSize);
/** Its memory: to ask a Buffer for it costs as much as to copy a small frame. */
let slabMemory = slab.buffer;
let slabUsed = 0;

function renewSlab(): void {
  slab = Buffer.allocUnsafeSlow(slabSize);
  slabMemory = slab.buffer;
  slabUsed = 0;
}

/**
 * Ends the use of everything taken from the slab so far.
 *
 * @param isFree - Whether nobody refers to those bytes any more, so that they may be overwritten.
 */
export function releaseSlab(isFree: boolean): void {
  if (slabUsed === 0) return;
  if (isFree) slabUsed = 0;
  else renewSlab();
}

/** Bytes of the slab that are in use. */
export function slabUse(): number {
  return slabUsed;
}

const keyPool = new Int32Array(1024);
let keysUsed = keyPool.length;

/** A masking key from a strong source, as RFC 6455 §5.3 wants it. */
function nextMaskingKey(): number {
  if (keysUsed === keyPool.length) {
    randomFillSync(keyPool);
    keysUsed = 0;
  }
  return keyPool[keysUsed++] as number;
}

function viewOf(bytes: Buffer, start: number, end: number): Buffer {
  return bytes === slab
    ? new BufferView(slabMemory, start, end - start)
    : bytes.subarray(start, end);
}

/** Encodes frames and collects them until they are taken. Holds no memory while it is empty. */
export class FrameWriter {
  readonly #isMasking: boolean;
  /** The first chunk that is complete: mostly the only one, and then there is no list. */
  #first: Uint8Array | undefined;
  /** All that are complete, if there is more than one. */
  #chunks: Uint8Array[] | undefined;
  /** Where the chunk under construction lies. */
  #slab: Buffer | undefined;
  #start = 0;
  #end = 0;
  /** Bytes collected and not taken yet. */
  size = 0;

  /** @param isMasking - Whether frames are masked: a client's are. */
  constructor(isMasking: boolean) {
    this.#isMasking = isMasking;
  }

  /**
   * Adds a frame whose payload is `text` as UTF-8; lone surrogates become U+FFFD.
   *
   * @param first - FIN, RSV1 and opcode, as `firstByte` builds it.
   */
  writeText(first: number, text: string): void {
    const worstCase = text.length * 3 + maxHeaderBytes;
    if (worstCase > slabSize) {
      const bytes = Buffer.from(text, "utf8");
      if (this.#isMasking) this.#writeMasked(first, bytes);
      else this.#handOver(first, bytes);
      return;
    }
    const at = this.#reserve(worstCase);
    // The header's size depends on the payload's, which is known only once it is written: guess
    // that the text is ASCII, and move the payload in the rare case that the guess was wrong.
    const guess = at + headerLengthFor(text.length, this.#isMasking);
    // Without an encoding, which would have to be looked up: UTF-8 is what it means.
    const length = slab.write(text, guess);
    const start = at + headerLengthFor(length, this.#isMasking);
    if (start !== guess) slab.copyWithin(start, guess, guess + length);
    this.#finish(at, first, start, length);
  }

  /**
   * Adds a frame with `payload`.
   *
   * @param first - FIN, RSV1 and opcode, as `firstByte` builds it.
   * @returns Whether `payload` itself is now part of the output, so that its owner must not
   *   change it until the bytes are written; otherwise it was copied.
   */
  writeBytes(first: number, payload: Uint8Array): boolean {
    const length = payload.length;
    if (length < copyLimit) {
      const at = this.#reserve(length + maxHeaderBytes);
      const start = at + headerLengthFor(length, this.#isMasking);
      copyRange(payload, 0, length, slab, start);
      this.#finish(at, first, start, length);
      return false;
    }
    if (this.#isMasking) {
      this.#writeMasked(first, new Uint8Array(payload));
      return false;
    }
    this.#handOver(first, payload);
    return true;
  }

  /** Adds a frame with a copy of `source[start..end)`, of which no view is made. */
  writeRange(first: number, source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length >= copyLimit) {
      const payload = Buffer.copyBytesFrom(source, start, length);
      if (this.#isMasking) this.#writeMasked(first, payload);
      else this.#handOver(first, payload);
      return;
    }
    const at = this.#reserve(length + maxHeaderBytes);
    const to = at + headerLengthFor(length, this.#isMasking);
    copyRange(source, start, end, slab, to);
    this.#finish(at, first, to, length);
  }

  /** Adds a whole frame that others send too, as it is; only an end that does not mask can. */
  writeFrame(frame: Uint8Array): void {
    this.#endChunk();
    this.#push(frame);
    this.size += frame.length;
  }

  /**
   * Takes what was collected, in order: one chunk, or several where that spares copying much. The
   * caller says when they are written by {@link releaseSlab}.
   */
  take(): Uint8Array | Uint8Array[] | undefined {
    this.#endChunk();
    const first = this.#first;
    const chunks = this.#chunks;
    const size = this.size;
    this.#first = undefined;
    this.#chunks = undefined;
    this.#slab = undefined;
    this.size = 0;
    if (chunks === undefined) return first;
    return size < copyLimit ? this.#join(chunks, size) : chunks;
  }

  /** One write of small chunks costs less than the kernel's, and Node's, work with a list of them. */
  #join(chunks: readonly Uint8Array[], size: number): Uint8Array {
    const start = this.#reserve(size);
    let at = start;
    for (const chunk of chunks) {
      copyRange(chunk, 0, chunk.length, slab, at);
      at += chunk.length;
    }
    slabUsed = at;
    this.#slab = undefined;
    return viewOf(slab, start, at);
  }

  /** Room for `bytes` at the returned index of the slab, continuing our chunk where possible. */
  #reserve(bytes: number): number {
    if (slabSize - slabUsed < bytes) renewSlab();
    if (this.#slab !== slab || this.#end !== slabUsed) {
      this.#endChunk();
      this.#slab = slab;
      this.#start = this.#end = slabUsed;
    }
    return slabUsed;
  }

  /** Writes header and mask around a payload that already lies at `start`. */
  #finish(at: number, first: number, start: number, length: number): void {
    const end = start + length;
    if (this.#isMasking) {
      const key = nextMaskingKey();
      writeHeader(slab, at, first, length, key);
      applyMask(slab, start, end, key, 0);
    } else if (length < 126) {
      // As `writeHeader` does it; a call less in the most usual case.
      slab[at] = first;
      slab[at + 1] = length;
    } else {
      writeHeader(slab, at, first, length, undefined);
    }
    this.size += end - at;
    slabUsed = this.#end = end;
  }

  #handOver(first: number, payload: Uint8Array, key?: number): void {
    const at = this.#reserve(maxHeaderBytes);
    const end = writeHeader(slab, at, first, payload.length, key);
    slabUsed = this.#end = end;
    this.#endChunk();
    this.#push(payload);
    this.size += end - at + payload.length;
  }

  /** Hands over `payload`, which is ours, masked in place. */
  #writeMasked(first: number, payload: Uint8Array): void {
    const key = nextMaskingKey();
    applyMask(payload, 0, payload.length, key, 0);
    this.#handOver(first, payload, key);
  }

  #endChunk(): void {
    if (this.#slab !== undefined && this.#end > this.#start) {
      this.#push(viewOf(this.#slab, this.#start, this.#end));
    }
    this.#start = this.#end;
  }

  #push(chunk: Uint8Array): void {
    if (this.#first === undefined) this.#first = chunk;
    else if (this.#chunks === undefined) this.#chunks = [this.#first, chunk];
    else this.#chunks.push(chunk);
  }
}

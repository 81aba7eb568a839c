import { Buffer } from "node:buffer";
import { BufferView } from "../protocol/buffer-view.js";
import { copyRange } from "../protocol/copy-range.js";

/**
 * Messages are copied out of the read buffer into slabs that they share: memory of its own for each
 * costs several times what the copy costs.
 */
const slabSize = 64 * 1024;
/** From here on a copy gets memory of its own. */
const largestShare = 16 * 1024;

let slab = Buffer.allocUnsafeSlow(slabSize);
/** Its memory: to ask a Buffer for it costs as much as to copy a small message. */
let slabMemory = slab.buffer;
let used = 0;

/** Where {@link copyToSlab} put the bytes. */
export interface Place {
  chunk: Buffer;
  start: number;
}

/** The one answer of {@link copyToSlab}, used for every call. */
const place: Place = { chunk: slab, start: 0 };

/**
 * Copies `source[start..end)` to memory that nothing else is written to.
 *
 * The memory is shared: whoever keeps a few bytes of it for long keeps the slab.
 * @returns Valid until the next call.
 */
export function copyToSlab(source: Buffer, start: number, end: number): Readonly<Place> {
  const length = end - start;
  if (length >= largestShare) {
    place.chunk = copyOf(source, start, end);
    place.start = 0;
    return place;
  }
  if (length > slabSize - used) {
    slab = Buffer.allocUnsafeSlow(slabSize);
    slabMemory = slab.buffer;
    used = 0;
  }
  place.chunk = slab;
  place.start = used;
  copyRange(source, start, end, slab, used);
  used += length;
  return place;
}

/** A copy of `source[start..end)` in memory of its own. */
export function copyOf(source: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  copyRange(source, start, end, copy, 0);
  return copy;
}

/** `chunk[start..end)` as a Buffer. */
export function viewOf(chunk: Buffer, start: number, end: number): Buffer {
  return chunk === slab
    ? new BufferView(slabMemory, start, end - start)
    : new BufferView(chunk.buffer, chunk.byteOffset + start, end - start);
}

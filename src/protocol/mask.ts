import { maskInput, sharedInput } from "./shared-input.js";

/** Below this many bytes a view for whole words costs more than it saves. */
const wordsFrom = 64;
/** Below this many bytes the loop is over sooner than the call. */
const simdFrom = 16;

/**
 * The word view of the buffer used last: the frames of one read share one buffer, so one entry,
 * which keeps one read buffer alive in the whole process, saves a new view per frame.
 */
let words: Int32Array = new Int32Array(0);

function wordsOf(buffer: ArrayBufferLike): Int32Array {
  if (words.buffer !== buffer) words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  return words;
}

/**
 * Applies a masking key to `bytes[start..end)` in place; doing it twice restores the bytes.
 *
 * @param key - The four key bytes as a little-endian 32-bit integer.
 * @param phase - How many payload bytes of the frame came before `start`.
 * @returns All resulting bytes OR-ed together: below 0x80 when they are all ASCII. The upper bits
 *   are meaningless beyond that test.
 * @see RFC 6455 §5.3
 */
export function applyMask(
  bytes: Uint8Array,
  start: number,
  end: number,
  key: number,
  phase: number,
): number {
  let at = start;
  let seen = 0;
  const turn = (phase & 3) * 8;
  let rotated = turn === 0 ? key : (key >>> turn) | (key << (32 - turn));

  // To ask an array for its `buffer` costs as much as to mask 100 bytes, so the array itself is looked at.
  if (end - start >= simdFrom && bytes === sharedInput && maskInput !== undefined) {
    return maskInput(start, end, rotated) === 0 ? 0 : 0x80;
  }
  if (end - start >= wordsFrom) {
    while (((bytes.byteOffset + at) & 3) !== 0) {
      seen |= bytes[at] = (bytes[at] as number) ^ (rotated & 0xff);
      rotated = (rotated >>> 8) | (rotated << 24);
      at++;
    }
    const view = wordsOf(bytes.buffer);
    const first = (bytes.byteOffset + at) >> 2;
    const last = first + ((end - at) >> 2);
    let word = 0;
    for (let index = first; index < last; index++) {
      word |= view[index] = (view[index] as number) ^ rotated;
    }
    if ((word & 0x80808080) !== 0) seen |= 0x80;
    at += (last - first) << 2;
  }
  for (; at < end; at++) {
    seen |= bytes[at] = (bytes[at] as number) ^ (rotated & 0xff);
    rotated = (rotated >>> 8) | (rotated << 24);
  }
  return seen;
}

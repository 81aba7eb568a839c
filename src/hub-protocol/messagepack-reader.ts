import { asciiText, utf8Text, viewOf } from "./byte-text.js";
import type { HubInput } from "./hub-protocol.js";
import { names } from "./name-cache.js";

/**
 * Reads parts of MessagePack at `input.at` and moves it behind them. No reader looks at `end` or
 * beyond; where what was wanted does not stand, or not whole, it says so and `input.at` may be
 * anywhere.
 * @see https://github.com/msgpack/msgpack/blob/master/spec.md
 */

const scratch = new DataView(new ArrayBuffer(8));

/** A big-endian number of `size` bytes, 4 at most. */
function unsigned(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] as number);
  return value;
}

/** @returns -1 when there is no array. */
export function readArrayLength(input: HubInput, end: number): number {
  return readLength(input, end, 0x90, 0xdc);
}

/** @returns -1 when there is no map. */
export function readMapLength(input: HubInput, end: number): number {
  return readLength(input, end, 0x80, 0xde);
}

function readLength(input: HubInput, end: number, short: number, long: number): number {
  const { bytes, at } = input;
  if (at >= end) return -1;
  const byte = bytes[at] as number;
  if (byte >> 4 === short >> 4) {
    input.at = at + 1;
    return byte & 15;
  }
  if (byte !== long && byte !== long + 1) return -1;
  const size = byte === long ? 2 : 4;
  if (end - at <= size) return -1;
  input.at = at + 1 + size;
  return unsigned(bytes, at + 1, size);
}

/** @returns `null` for nil, `undefined` when there is no string. */
export function readText(input: HubInput, end: number): string | null | undefined {
  const length = readTextLength(input, end);
  if (length < 0) return length === isNil ? null : undefined;
  const { bytes, at } = input;
  input.at = at + length;
  if (length <= 8) {
    // Most ids are that short, and to put them together is cheaper than a native call.
    let all = 0;
    for (let i = at; i < input.at; i++) all |= bytes[i] as number;
    if (all < 0x80) return asciiText(bytes, at, input.at);
  }
  return utf8Text(bytes, at, input.at);
}

/** As {@link readText}, for names that come again. */
export function readName(input: HubInput, end: number): string | null | undefined {
  const length = readTextLength(input, end);
  if (length < 0) return length === isNil ? null : undefined;
  const { bytes, at } = input;
  input.at = at + length;
  return names.get(bytes, viewOf(bytes), at, input.at);
}

const isNil = -1;
const isNoText = -2;

/** The length of a string all of which is there; `input.at` stands at its first byte. */
function readTextLength(input: HubInput, end: number): number {
  const { bytes, at } = input;
  if (at >= end) return isNoText;
  const byte = bytes[at] as number;
  let start = at + 1;
  let length = byte & 31;
  if (byte >> 5 !== 5) {
    if (byte === 0xc0) {
      input.at = start;
      return isNil;
    }
    if (byte < 0xd9 || byte > 0xdb) return isNoText;
    const size = 1 << (byte - 0xd9);
    if (end - start < size) return isNoText;
    length = unsigned(bytes, start, size);
    start += size;
  }
  if (end - start < length) return isNoText;
  input.at = start;
  return length;
}

/** @returns `undefined` when there is none. */
export function readBoolean(input: HubInput, end: number): boolean | undefined {
  const byte = input.at < end ? input.bytes[input.at++] : undefined;
  return byte === 0xc3 ? true : byte === 0xc2 ? false : undefined;
}

/** @returns A bigint when a number would not be exact; `undefined` when there is no integer. */
export function readInteger(input: HubInput, end: number): number | bigint | undefined {
  const { bytes, at } = input;
  if (at >= end) return undefined;
  const byte = bytes[at] as number;
  if (byte < 0x80 || byte >= 0xe0) {
    input.at = at + 1;
    return byte < 0x80 ? byte : byte - 256;
  }
  if (byte < 0xcc || byte > 0xd3) return undefined;
  const size = 1 << (byte & 3);
  if (end - at <= size) return undefined;
  input.at = at + 1 + size;
  if (size === 8) {
    const high = unsigned(bytes, at + 1, 4);
    const low = unsigned(bytes, at + 5, 4);
    if (high < 0x200000) return high * 2 ** 32 + low;
    const exact = (BigInt(high) << 32n) | BigInt(low);
    if (byte === 0xcf) return exact;
    const signed = BigInt.asIntN(64, exact);
    return signed >= Number.MIN_SAFE_INTEGER ? Number(signed) : signed;
  }
  const value = unsigned(bytes, at + 1, size);
  const half = 2 ** (8 * size - 1);
  return byte >= 0xd0 && value >= half ? value - 2 * half : value;
}

/** @returns `undefined` when there is none. */
export function readFloat(input: HubInput, end: number): number | undefined {
  const { bytes, at } = input;
  if (at >= end) return undefined;
  const size = bytes[at] === 0xcb ? 8 : 4;
  if (end - at <= size) return undefined;
  for (let i = 0; i < size; i++) scratch.setUint8(i, bytes[at + 1 + i] as number);
  input.at = at + 1 + size;
  return size === 8 ? scratch.getFloat64(0) : scratch.getFloat32(0);
}

/** @returns A copy of the bytes; `undefined` when there are none. */
export function readBinary(input: HubInput, end: number): Uint8Array | undefined {
  const { bytes, at } = input;
  if (at >= end) return undefined;
  const size = 1 << ((bytes[at] as number) - 0xc4);
  if (end - at <= size) return undefined;
  const start = at + 1 + size;
  const length = unsigned(bytes, at + 1, size);
  if (end - start < length) return undefined;
  input.at = start + length;
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(start, start + length));
  return copy;
}

/** How many bytes of length follow the first one, for 0xc4 to 0xc9 and 0xd9 to 0xdf. */
function lengthBytes(first: number): number {
  if (first <= 0xc9) return 1 << ((first - 0xc4) % 3);
  if (first <= 0xdb) return 1 << (first - 0xd9);
  return first & 1 ? 4 : 2;
}

/** What {@link scan} found in a value. */
export interface Findings {
  /** There are bytes or extensions, which decoders like to return as views of their input. */
  hasBytes: boolean;
  /** There are integers of 64 bits beyond what a number can hold. */
  hasLargeIntegers: boolean;
}

/** Items to come on each level; kept, because a scan calls nothing that could scan. */
const remaining: number[] = [];

/**
 * Checks a value before a decoder sees it: that it is whole, not nested too deeply, and that its
 * lengths do not announce more than the bytes there are. Not recursive itself.
 *
 * @param maxDepth - How many levels of arrays and maps it may have.
 * @returns The index behind it, or -1 when something is wrong.
 */
export function scan(
  bytes: Uint8Array,
  start: number,
  end: number,
  maxDepth: number,
  findings: Findings,
): number {
  let at = start;
  let depth = 0;
  /** Items to come on all levels: each needs a byte at least. */
  let pending = 1;
  remaining[0] = 1;
  for (;;) {
    if (end - at < pending) return -1;
    const first = bytes[at++] as number;
    pending--;
    remaining[depth] = (remaining[depth] as number) - 1;
    let skip = 0;
    let items = 0;
    if (first < 0x80 || first >= 0xe0) {
      // A small integer.
    } else if (first < 0xa0) {
      items = first < 0x90 ? 2 * (first & 15) : first & 15;
    } else if (first < 0xc0) {
      skip = first & 31;
    } else if (first <= 0xc3) {
      if (first === 0xc1) return -1;
    } else if (first <= 0xc9 || (first >= 0xd9 && first <= 0xdf)) {
      const size = lengthBytes(first);
      if (end - at < size) return -1;
      const length = unsigned(bytes, at, size);
      at += size;
      if (first >= 0xdc) items = first >= 0xde ? 2 * length : length;
      else skip = first >= 0xc7 && first <= 0xc9 ? length + 1 : length;
      if (first <= 0xc9) findings.hasBytes = true;
    } else if (first <= 0xcb) {
      skip = first === 0xca ? 4 : 8;
    } else if (first <= 0xd3) {
      skip = 1 << (first & 3);
      if (skip === 8) findings.hasLargeIntegers ||= isLarge(first, bytes, at, end);
    } else {
      skip = 1 + (1 << (first - 0xd4));
      findings.hasBytes = true;
    }
    if (end - at < skip) return -1;
    at += skip;
    if (first >= 0x80 && (first < 0xa0 || (first >= 0xdc && first <= 0xdf))) {
      // An empty one is a level too.
      if (depth + 1 > maxDepth) return -1;
      if (items > 0) {
        pending += items;
        remaining[++depth] = items;
      }
    }
    while (remaining[depth] === 0) {
      if (depth === 0) return at;
      depth--;
    }
  }
}

/** Whether the integer of 64 bits at `at` is beyond 2^53, or may be. */
function isLarge(first: number, bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at < 8) return false;
  const high = unsigned(bytes, at, 4);
  return high >= 0x200000 && (first === 0xcf || high <= 0xffe00000);
}

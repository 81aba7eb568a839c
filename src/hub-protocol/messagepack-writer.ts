import type { ByteWriter } from "./byte-writer.js";

/** Writes parts of MessagePack, each in its shortest form. */

/** Up to this many characters a loop is faster than native calls. */
const shortText = 16;

function number(out: ByteWriter, first: number, size: 1 | 2 | 4, value: number): void {
  out.reserve(1 + size);
  const { bytes, length } = out;
  bytes[length] = first;
  let at = length + 1;
  if (size === 4) {
    bytes[at++] = value >>> 24;
    bytes[at++] = value >>> 16;
  }
  if (size > 1) bytes[at++] = value >>> 8;
  bytes[at++] = value;
  out.length = at;
}

export function writeArrayLength(out: ByteWriter, length: number): void {
  if (length < 16) out.byte(0x90 | length);
  else if (length < 0x10000) number(out, 0xdc, 2, length);
  else number(out, 0xdd, 4, length);
}

export function writeMapLength(out: ByteWriter, length: number): void {
  if (length < 16) out.byte(0x80 | length);
  else if (length < 0x10000) number(out, 0xde, 2, length);
  else number(out, 0xdf, 4, length);
}

/** How many bytes stand before a string of `length` bytes. */
function textHeader(length: number): number {
  return length < 32 ? 1 : length < 256 ? 2 : length < 0x10000 ? 3 : 5;
}

export function writeText(out: ByteWriter, text: string): void {
  const start = out.length;
  const { length } = text;
  if (length <= shortText) {
    out.reserve(length + 1);
    const { bytes } = out;
    let i = 0;
    for (; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) break;
      bytes[start + 1 + i] = unit;
    }
    if (i === length) {
      bytes[start] = 0xa0 | length;
      out.length = start + 1 + length;
      return;
    }
  }
  const guessed = textHeader(length);
  out.reserve(guessed);
  out.length = start + guessed;
  const size = out.utf8(text);
  const needed = textHeader(size);
  if (needed !== guessed) {
    out.reserve(needed - guessed);
    out.bytes.copyWithin(start + needed, start + guessed, out.length);
  }
  out.length = start;
  if (needed === 1) out.bytes[start] = 0xa0 | size;
  else if (needed === 2) number(out, 0xd9, 1, size);
  else if (needed === 3) number(out, 0xda, 2, size);
  else number(out, 0xdb, 4, size);
  out.length = start + needed + size;
}

export function writeBoolean(out: ByteWriter, value: boolean): void {
  out.byte(value ? 0xc3 : 0xc2);
}

export function writeNil(out: ByteWriter): void {
  out.byte(0xc0);
}

/** Writes an integer as one, and any other number as float64. */
export function writeNumber(out: ByteWriter, value: number): void {
  if (!Number.isSafeInteger(value)) {
    out.reserve(9);
    out.bytes[out.length] = 0xcb;
    out.view.setFloat64(out.length + 1, value);
    out.length += 9;
  } else if (value >= 0) {
    if (value < 0x80) out.byte(value);
    else if (value < 0x100) number(out, 0xcc, 1, value);
    else if (value < 0x10000) number(out, 0xcd, 2, value);
    else if (value < 2 ** 32) number(out, 0xce, 4, value);
    else {
      number(out, 0xcf, 4, Math.floor(value / 2 ** 32));
      out.reserve(4);
      out.view.setUint32(out.length, value % 2 ** 32);
      out.length += 4;
    }
  } else if (value >= -0x20) out.byte(value & 0xff);
  else if (value >= -0x80) number(out, 0xd0, 1, value);
  else if (value >= -0x8000) number(out, 0xd1, 2, value);
  else if (value >= -(2 ** 31)) number(out, 0xd2, 4, value);
  else writeBigInt(out, BigInt(value));
}

/**
 * Writes all 64 bits, so that readers that tell small integers from large ones make a bigint of it.
 *
 * @throws RangeError when 64 bits are not enough.
 */
export function writeBigInt(out: ByteWriter, value: bigint): void {
  const isNegative = value < 0n;
  if (isNegative ? value < -(2n ** 63n) : value >= 2n ** 64n) {
    throw new RangeError(`${value} does not fit into 64 bits.`);
  }
  out.reserve(9);
  out.bytes[out.length] = isNegative ? 0xd3 : 0xcf;
  out.view.setBigUint64(out.length + 1, BigInt.asUintN(64, value));
  out.length += 9;
}

export function writeBinary(out: ByteWriter, bytes: Uint8Array): void {
  const { length } = bytes;
  if (length < 0x100) number(out, 0xc4, 1, length);
  else if (length < 0x10000) number(out, 0xc5, 2, length);
  else number(out, 0xc6, 4, length);
  out.raw(bytes);
}

/** @param type - From -128 to 127. */
export function writeExtension(out: ByteWriter, type: number, data: Uint8Array): void {
  const { length } = data;
  const fixed = length === 0 ? -1 : [1, 2, 4, 8, 16].indexOf(length);
  if (fixed >= 0) out.byte(0xd4 + fixed);
  else if (length < 0x100) number(out, 0xc7, 1, length);
  else if (length < 0x10000) number(out, 0xc8, 2, length);
  else number(out, 0xc9, 4, length);
  out.byte(type & 0xff);
  out.raw(data);
}

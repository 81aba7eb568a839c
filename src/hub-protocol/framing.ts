import { HubMessageTooBigError, HubProtocolError } from "../errors.js";
import type { ByteWriter } from "./byte-writer.js";
import type { HubInput } from "./hub-protocol.js";

/** Ends every message of the handshake and of the JSON protocol. */
export const recordSeparator = 0x1e;

/** Bytes of the longest length prefix. */
const maxPrefixLength = 5;

/**
 * Finds the record separator of the next message.
 *
 * @param maxMessageSize - Largest message in bytes, separator included.
 * @returns Its index, or -1 when it has not come.
 * @throws HubMessageTooBigError when it is not among the first `maxMessageSize` bytes, though more
 *   have come.
 */
export function findRecordEnd(input: HubInput, maxMessageSize: number): number {
  const { bytes, at, end } = input;
  const found = bytes.indexOf(recordSeparator, at);
  const isHere = found !== -1 && found < end;
  if ((isHere ? found + 1 : end) - at > maxMessageSize) {
    throw new HubMessageTooBigError(maxMessageSize);
  }
  return isHere ? found : -1;
}

/**
 * Reads a length prefix, 7 bits per byte with the least significant first, and moves `input.at` to
 * the message that it announces. A prefix may be longer than it has to be.
 *
 * @param maxMessageSize - Largest message in bytes, prefix included.
 * @returns The index behind the message, or -1 when some of it has not come; `input.at` stays.
 * @throws HubProtocolError when the length is 2 GiB or more.
 * @throws HubMessageTooBigError as soon as the prefix announces too much.
 */
export function readLengthPrefix(input: HubInput, maxMessageSize: number): number {
  const { bytes, end } = input;
  let at = input.at;
  let length = 0;
  for (let shift = 0; at < end; shift += 7) {
    const byte = bytes[at++] as number;
    if (shift === 28 && byte > 7) {
      throw new HubProtocolError("Messages over 2GB in size are not supported.");
    }
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (at - input.at + length > maxMessageSize) throw new HubMessageTooBigError(maxMessageSize);
      if (end - at < length) return -1;
      input.at = at;
      return at + length;
    }
  }
  // The prefix itself is cut; five bytes are never only a prefix.
  if (end - input.at > maxMessageSize) throw new HubMessageTooBigError(maxMessageSize);
  return -1;
}

/** How many bytes the length prefix of `length` has. */
export function prefixLength(length: number): number {
  let count = 1;
  for (let rest = length >>> 7; rest > 0; rest >>>= 7) count++;
  return count;
}

/**
 * Puts the length prefix in front of what was written since `start`.
 *
 * @param guessed - Bytes left free for it at `start`; the message moves when it needs another number.
 */
export function insertLengthPrefix(out: ByteWriter, start: number, guessed: number): void {
  const length = out.length - start - guessed;
  if (guessed === 1 && length < 128) {
    out.bytes[start] = length;
    return;
  }
  if (length > 0x7fffffff) {
    throw new RangeError("Messages over 2GB in size are not supported.");
  }
  const needed = prefixLength(length);
  if (needed !== guessed) {
    out.reserve(maxPrefixLength);
    out.bytes.copyWithin(start + needed, start + guessed, out.length);
    out.length = start + needed + length;
  }
  let rest = length;
  let at = start;
  for (; rest > 0x7f; rest >>>= 7) out.bytes[at++] = (rest & 0x7f) | 0x80;
  out.bytes[at] = rest;
}

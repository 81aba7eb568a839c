import { isUtf8 } from "node:buffer";

/** Bytes of the sequence that `lead` starts, or 0 when no sequence starts so (RFC 3629 §4). */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0; // continuation bytes, and overlong forms of two bytes
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0; // above U+10FFFF
}

/** Whether `second` may follow `lead`: overlong forms, surrogates and values above U+10FFFF may not. */
function isSecondByte(lead: number, second: number): boolean {
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  return second >= lowest && second <= highest;
}

/**
 * Validates UTF-8 that arrives in pieces, and says so at the first byte that cannot be right.
 *
 * The middle of each piece goes through Node's vectorised check; only a sequence that is cut by
 * the end of a piece (three bytes at most) is kept and looked at byte by byte.
 * @see RFC 3629 §3, RFC 6455 §8.1
 */
export class Utf8Validator {
  #lead = 0;
  /** Bytes of the cut sequence seen so far, and bytes it has in all; 0 when no sequence is cut. */
  #seen = 0;
  #wanted = 0;

  /** Whether everything so far ends on a character boundary. */
  get isComplete(): boolean {
    return this.#wanted === 0;
  }

  /** Takes the next piece; `false` as soon as the text cannot be valid any more. */
  accepts(piece: Uint8Array): boolean {
    let start = 0;
    while (this.#wanted > 0 && start < piece.length) {
      if (!this.#continues(piece[start++] as number)) return false;
    }
    const end = Math.max(start, cutPoint(piece));
    if (end > start && !isUtf8(piece.subarray(start, end))) return false;
    for (let at = end; at < piece.length; at++) {
      if (!this.#continues(piece[at] as number)) return false;
    }
    return true;
  }

  reset(): void {
    this.#wanted = 0;
  }

  #continues(byte: number): boolean {
    if (this.#wanted === 0) {
      this.#lead = byte;
      this.#seen = 1;
      this.#wanted = sequenceLength(byte);
      if (this.#wanted === 0) return false;
    } else {
      const isValid =
        this.#seen === 1 ? isSecondByte(this.#lead, byte) : byte >= 0x80 && byte <= 0xbf;
      if (!isValid) return false;
      this.#seen++;
    }
    if (this.#seen === this.#wanted) this.#wanted = 0;
    return true;
  }
}

/** Index from which `piece` may end in the middle of a character; its length when it does not. */
function cutPoint(piece: Uint8Array): number {
  const length = piece.length;
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = piece[length - back] as number;
    if (byte < 0x80) return length;
    if (byte >= 0xc0) return sequenceLength(byte) > back ? length - back : length;
  }
  return length;
}

import { asciiText } from "./byte-text.js";

const slots = 256;
/** Longest name that is kept, in words of four bytes. */
const words = 6;

/**
 * Strings for the names that come again and again, so that they are not made anew for each message.
 * Each name has one place, which it may lose to another: the cache cannot grow.
 */
export class NameCache {
  readonly #names = new Array<string>(slots).fill("");
  /** The names' bytes, filled up with zeros. */
  readonly #words = new Int32Array(slots * words);

  /** The text of `bytes[start, end)`, of which the caller knows that it is ASCII. */
  get(bytes: Uint8Array, view: DataView, start: number, end: number): string {
    const length = end - start;
    if (length === 0) return "";
    if (length > 4 * words || start + 4 * words > view.byteLength) {
      return asciiText(bytes, start, end);
    }
    // The last word goes beyond the name: what is not the name's is shifted out.
    const count = (length + 3) >> 2;
    const beyond = 8 * (4 * count - length);
    let hash = length;
    let at = start;
    for (let i = 1; i < count; i++, at += 4) {
      hash = Math.imul(hash, 31) ^ view.getInt32(at, true);
    }
    const last = (view.getInt32(at, true) << beyond) >>> beyond;
    hash = Math.imul(Math.imul(hash, 31) ^ last, 0x9e3779b1) >>> 24;
    const name = this.#names[hash] as string;
    const kept = hash * words;
    if (name.length === length) {
      let i = 0;
      while (i < count - 1 && view.getInt32(start + 4 * i, true) === this.#words[kept + i]) i++;
      if (i === count - 1 && this.#words[kept + i] === (last | 0)) return name;
    }
    for (let i = 0; i < count - 1; i++) {
      this.#words[kept + i] = view.getInt32(start + 4 * i, true);
    }
    this.#words[kept + count - 1] = last;
    const text = asciiText(bytes, start, end);
    this.#names[hash] = text;
    return text;
  }
}

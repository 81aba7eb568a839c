import { utf8Text } from "./byte-text.js";

const slots = 256;
/** Longest name that is kept, in words of four bytes. */
const maxWords = 6;

/**
 * Strings for the names that come again and again, so that they are not made anew for each message.
 * Each name has one place, which it may lose to another: the cache cannot grow.
 */
class NameCache {
  readonly #names = new Array<string>(slots).fill("");
  /** The names' lengths in bytes. */
  readonly #lengths = new Uint8Array(slots);
  /** The names' bytes, filled up with zeros. */
  readonly #words = new Int32Array(slots * maxWords);

  /** The text of `bytes[start, end)`, in UTF-8. */
  get(bytes: Uint8Array, view: DataView, start: number, end: number): string {
    const length = end - start;
    if (length === 0) return "";
    if (length > 4 * maxWords || start + 4 * maxWords > view.byteLength) {
      return utf8Text(bytes, start, end);
    }
    const words = this.#words;
    // The last word goes beyond the name: what is not the name's is shifted out.
    const whole = (length - 1) >> 2;
    const last = lastWord(view, start, length);
    let hash = Math.imul(last, 0x9e3779b1) ^ length;
    for (let i = 0; i < whole; i++) {
      hash = Math.imul(hash ^ view.getInt32(start + 4 * i, true), 0x9e3779b1);
    }
    const slot = hash >>> 24;
    const kept = slot * maxWords;
    if (this.#lengths[slot] === length && words[kept + whole] === last) {
      let i = 0;
      while (i < whole && view.getInt32(start + 4 * i, true) === words[kept + i]) i++;
      if (i === whole) return this.#names[slot] as string;
    }
    for (let i = 0; i < whole; i++) words[kept + i] = view.getInt32(start + 4 * i, true);
    words[kept + whole] = last;
    this.#lengths[slot] = length;
    const name = utf8Text(bytes, start, end);
    this.#names[slot] = name;
    return name;
  }
}

/** Of all connections: targets, and the names of properties. */
export const names = new NameCache();

/** The bytes of a name that do not fill a word, or the last word that they do. */
function lastWord(view: DataView, start: number, length: number): number {
  const beyond = 8 * (-length & 3);
  return (view.getInt32(start + ((length - 1) & ~3), true) << beyond) >> beyond;
}

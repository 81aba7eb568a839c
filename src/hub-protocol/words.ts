/**
 * Looks at four bytes at a time: what is compared, and what is looked for, in words of four bytes
 * with the first in the lowest place.
 */

/** Four characters of ASCII as a word. */
export function word(text: string): number {
  let value = 0;
  for (let i = 0; i < 4; i++) value |= text.charCodeAt(i) << (8 * i);
  return value;
}

const quotes = word('""""');
const backslashes = word("\\\\\\\\");
const openings = word("{{{{");
const lowest = 0x01010101;
const spaces = 0x20202020;
/** The highest bit of each byte. */
const tops = 0x80808080 | 0;

/** Whether what {@link textEnd} passed over last was not all ASCII. */
export let sawBeyondAscii = false;

/**
 * Finds the first byte from `at` that ends a JSON string or cannot stand in it as it is: a quote, a
 * backslash or a control character. One of them must be at `end - 1`.
 */
export function textEnd(bytes: Uint8Array, view: DataView, at: number, end: number): number {
  let i = at;
  let seen = 0;
  // In a byte without its highest bit, taking 32 from a control character, or 1 from what differs
  // in no bit from what is looked for, needs a borrow, which shows in the highest bit. The borrow
  // goes on to higher bytes, so that only the lowest one found is sure; that is the one we want.
  for (; i <= end - 8; i += 8) {
    const a = view.getInt32(i, true);
    const b = view.getInt32(i + 4, true);
    const foundA =
      ((a - spaces) | ((a ^ quotes) - lowest) | ((a ^ backslashes) - lowest)) & ~a & tops;
    const foundB =
      ((b - spaces) | ((b ^ quotes) - lowest) | ((b ^ backslashes) - lowest)) & ~b & tops;
    if ((foundA | foundB) !== 0) {
      if (foundA !== 0) {
        const bit = 24 - Math.clz32(foundA & -foundA);
        sawBeyondAscii = ((seen | (a & ((1 << bit) - 1))) & tops) !== 0;
        return i + (bit >> 3);
      }
      const bit = 24 - Math.clz32(foundB & -foundB);
      sawBeyondAscii = ((seen | a | (b & ((1 << bit) - 1))) & tops) !== 0;
      return i + 4 + (bit >> 3);
    }
    seen |= a | b;
  }
  let last = 0;
  for (; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c) break;
    last |= byte;
  }
  sawBeyondAscii = (seen & tops) !== 0 || last > 127;
  return i;
}

/** How many brackets and braces open in `bytes[start, end)`, those in strings among them. */
export function countOpenings(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): number {
  let count = 0;
  let i = start;
  for (; i <= end - 4; i += 4) {
    const differences = (view.getInt32(i, true) | spaces) ^ openings;
    // The highest bit of each byte that is not 0; unlike above no byte disturbs another.
    const others = (((differences & 0x7f7f7f7f) + 0x7f7f7f7f) | differences) & tops;
    if (others !== tops) {
      for (let found = others ^ tops; found !== 0; found &= found - 1) count++;
    }
  }
  for (; i < end; i++) if (((bytes[i] as number) | 0x20) === 0x7b) count++;
  return count;
}

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

const backslashes = word("\\\\\\\\");
const openings = word("{{{{");
const spaces = 0x20202020;
const lowest = 0x01010101;
/** Turns the quote and what is below the space, and nothing else, into numbers below 33. */
const swaps = 0x02020202;
const below33 = 0x21212121;
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
  // To take 33 from a byte that is less, or 1 from 0, needs a borrow, which shows in the highest
  // bit of the byte. It goes on to the higher ones: only the lowest one found is sure.
  for (; i <= end - 16; i += 16) {
    const a = view.getInt32(i, true);
    const b = view.getInt32(i + 4, true);
    const c = view.getInt32(i + 8, true);
    const d = view.getInt32(i + 12, true);
    const found =
      a |
      ((a ^ swaps) - below33) |
      ((a ^ backslashes) - lowest) |
      (b | ((b ^ swaps) - below33) | ((b ^ backslashes) - lowest)) |
      (c | ((c ^ swaps) - below33) | ((c ^ backslashes) - lowest)) |
      (d | ((d ^ swaps) - below33) | ((d ^ backslashes) - lowest));
    if ((found & tops) !== 0) break;
  }
  // From here on bytes beyond ASCII, which have the highest bit anyway, count for nothing.
  let seen = 0;
  for (; i <= end - 4; i += 4) {
    const a = view.getInt32(i, true);
    const found = (((a ^ swaps) - below33) | ((a ^ backslashes) - lowest)) & ~a & tops;
    if (found !== 0) {
      const bit = 24 - Math.clz32(found & -found);
      sawBeyondAscii = ((seen | (a & ((1 << bit) - 1))) & tops) !== 0;
      return i + (bit >> 3);
    }
    seen |= a;
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

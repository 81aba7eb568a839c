import { asciiText, strictUtf8Text } from "./byte-text.js";
import { sawBeyondAscii, textEnd, word } from "./words.js";

/*
 * Reads the JSON values that need no JSON.parse. A record separator, or another control character,
 * must be at `last - 1` or before.
 */

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const zero = 0x30;
const closeBracket = 0x5d;

const wordTrue = word("true");
const wordFals = word("fals");
const wordNull = word("null");

/** What is returned for a value that cannot be read so simply. */
export const unsure = Symbol("unsure");

/** Index behind what was read last. */
export let scalarEnd = 0;

/** An array of plain values, which begins at `at`; `undefined` when unsure. */
export function readPlainArray(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  last: number,
): unknown[] | undefined {
  if (bytes[at + 1] === closeBracket) {
    scalarEnd = at + 2;
    return [];
  }
  const first = readScalar(bytes, view, at + 1, last);
  if (first === unsure) return undefined;
  const items = [first];
  while (bytes[scalarEnd] === comma) {
    const next = readScalar(bytes, view, scalarEnd + 1, last);
    if (next === unsure) return undefined;
    items.push(next);
  }
  if (bytes[scalarEnd] !== closeBracket) return undefined;
  scalarEnd++;
  return items;
}

/** A string without escapes, a small integer, true, false or null. */
export function readScalar(bytes: Uint8Array, view: DataView, at: number, last: number): unknown {
  const byte = bytes[at] as number;
  if (byte === quote) {
    const end = textEnd(bytes, view, at + 1, last);
    if (bytes[end] !== quote) return unsure;
    scalarEnd = end + 1;
    if (!sawBeyondAscii) return asciiText(bytes, at + 1, end);
    return strictUtf8Text(bytes, at + 1, end) ?? unsure;
  }
  if (byte <= 0x39) return readInteger(bytes, at);
  if (last - at < 6) return unsure;
  const four = view.getInt32(at, true);
  scalarEnd = at + 4;
  if (four === wordTrue) return true;
  if (four === wordNull) return null;
  if (four !== wordFals || bytes[scalarEnd++] !== 0x65) return unsure;
  return false;
}

/** Fifteen digits at most, which are exact in a number. What ends them is the caller's to judge. */
function readInteger(bytes: Uint8Array, start: number): unknown {
  const isNegative = bytes[start] === minus;
  const from = isNegative ? start + 1 : start;
  let value = 0;
  let at = from;
  for (; at - from < 16; at++) {
    const digit = (bytes[at] as number) - zero;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  const count = at - from;
  if (count === 0 || count > 15 || (count > 1 && bytes[from] === zero)) return unsure;
  // A fraction or an exponent follows, or it is a zero that keeps its sign.
  if (bytes[at] === 0x2e || ((bytes[at] as number) | 0x20) === 0x65) return unsure;
  if (isNegative && value === 0) return unsure;
  scalarEnd = at;
  return isNegative ? -value : value;
}

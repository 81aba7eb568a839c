import { base64Text } from "./byte-text.js";
import type { ByteWriter } from "./byte-writer.js";
import { textEnd } from "./words.js";

/** Levels of arrays and objects that are written; more of them is a cycle, or as good as one. */
const maxDepth = 1000;

const quote = 0x22;

/** Below this many characters a loop is faster than native calls. */
const shortText = 16;

/** For each character of ASCII whether it stands in a JSON string as it is. */
const isPlainUnit = new Uint8Array(128).fill(1, 0x20);
isPlainUnit[quote] = 0;
isPlainUnit[0x5c] = 0;

/** Writes a string with its quotes, the same as JSON.stringify. */
export function writeString(out: ByteWriter, text: string): void {
  const start = out.length;
  const { length } = text;
  // Two quotes, and what ByteWriter.utf8 wants to spare.
  out.reserve(length + 6);
  out.bytes[start] = quote;
  if (length <= shortText ? writeShort(out, text, start + 1) : writeLong(out, text, start + 1)) {
    out.byte(quote);
  } else {
    out.length = start;
    out.utf8(JSON.stringify(text));
  }
}

/** @returns Whether every character could be written as it is. */
function writeShort(out: ByteWriter, text: string, start: number): boolean {
  const { bytes } = out;
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (isPlainUnit[unit] !== 1) return false;
    bytes[start + i] = unit;
  }
  out.length = start + length;
  return true;
}

/** Writes first and looks afterwards, which both can be done several characters at a time. */
function writeLong(out: ByteWriter, text: string, start: number): boolean {
  out.length = start;
  const written = out.utf8(text);
  if (written !== text.length && !isWellFormed(text)) return false;
  const end = out.length;
  out.byte(quote);
  out.length = end;
  return textEnd(out.bytes, out.view, start, end + 1) === end;
}

/** Whether there is no half of a surrogate pair, which JSON.stringify escapes. */
function isWellFormed(text: string): boolean {
  return (text as { isWellFormed?(): boolean }).isWellFormed?.() ?? false;
}

/**
 * Writes a value of the application as JSON.stringify does, except that bytes become base64, a
 * bigint its digits, a Map an object, and what JSON does not know null.
 *
 * @throws TypeError for a cycle, RangeError for a value nested absurdly, and what its `toJSON` throws.
 */
export function writeValue(out: ByteWriter, value: unknown): void {
  switch (typeof value) {
    case "string":
      writeString(out, value);
      return;
    case "number":
      writeNumber(out, value);
      return;
    case "boolean":
      out.ascii(value ? "true" : "false");
      return;
    case "object":
      if (value === null) break;
      out.utf8((isPlain(value, 0) ? JSON.stringify(value) : exact(value, "", 0)) ?? "null");
      return;
    case "bigint":
      out.ascii(String(value));
      return;
  }
  out.ascii("null");
}

function writeNumber(out: ByteWriter, value: number): void {
  if (value >= 0 && value < 10 && Number.isInteger(value)) out.byte(0x30 + value);
  else out.ascii(Number.isFinite(value) ? String(value) : "null");
}

/** Whether JSON.stringify alone does what we want with `value`. Such a walk costs less than a replacer. */
function isPlain(value: object, depth: number): boolean {
  // A cycle ends here too, and JSON.stringify has a good error for it.
  if (depth > maxDepth) return true;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      if (typeof item === "object") {
        if (item !== null && !isPlain(item, depth + 1)) return false;
      } else if (typeof item === "bigint") return false;
    }
    return true;
  }
  if (value instanceof Date) return true;
  if (isBytes(value) || value instanceof Map) return false;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return false;
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === "object") {
      if (item !== null && !isPlain(item, depth + 1)) return false;
    } else if (typeof item === "bigint") return false;
  }
  return true;
}

function isBytes(value: object): value is ArrayBufferView | ArrayBuffer {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

/** What JSON.stringify would make of `value` if it knew bytes, bigints and maps. */
function exact(value: unknown, key: string, depth: number): string | undefined {
  if (depth > maxDepth) throw new TypeError("A value is nested too deeply, or in itself.");
  let item = value;
  if (typeof item === "object" && item !== null && !ArrayBuffer.isView(item)) {
    const { toJSON } = item as { toJSON?: unknown };
    if (typeof toJSON === "function") item = toJSON.call(item, key);
  }
  if (typeof item === "bigint") return String(item);
  if (typeof item !== "object" || item === null) return JSON.stringify(item);
  if (ArrayBuffer.isView(item)) {
    return `"${base64Text(new Uint8Array(item.buffer, item.byteOffset, item.byteLength))}"`;
  }
  if (item instanceof ArrayBuffer) return `"${base64Text(new Uint8Array(item))}"`;
  if (Array.isArray(item)) {
    return `[${item.map((each, i) => exact(each, String(i), depth + 1) ?? "null").join()}]`;
  }
  if (item instanceof Number || item instanceof String || item instanceof Boolean) {
    return JSON.stringify(item);
  }
  let text = "";
  for (const [name, each] of item instanceof Map ? item : Object.entries(item)) {
    const part = exact(each, String(name), depth + 1);
    if (part === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(String(name))}:${part}`;
  }
  return `{${text}}`;
}

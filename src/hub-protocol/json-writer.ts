import { base64Text } from "./byte-text.js";
import type { ByteWriter } from "./byte-writer.js";

/** Levels of arrays and objects that are written; more of them is a cycle, or as good as one. */
const maxDepth = 1000;

/** Writes a string with its quotes. */
export function writeString(out: ByteWriter, text: string): void {
  out.utf8(JSON.stringify(text));
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
      out.ascii(Number.isFinite(value) ? String(value === 0 ? 0 : value) : "null");
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

/** Whether JSON.stringify alone does what we want with `value`. Such a walk costs less than a replacer. */
function isPlain(value: object, depth: number): boolean {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlainItem(value[i], depth)) return false;
    return true;
  }
  if (value instanceof Date) return true;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Map)
    return false;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return false;
  for (const key in value) {
    if (!isPlainItem((value as Record<string, unknown>)[key], depth)) return false;
  }
  return true;
}

function isPlainItem(item: unknown, depth: number): boolean {
  if (typeof item !== "object" || item === null) return typeof item !== "bigint";
  // A cycle ends here too, and JSON.stringify has a good error for it.
  return depth >= maxDepth || isPlain(item, depth + 1);
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

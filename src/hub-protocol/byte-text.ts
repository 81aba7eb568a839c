/** What Node's Buffer can do beyond an array of bytes, and does much faster than TextDecoder. */
export interface NodeBytes extends Uint8Array {
  latin1Slice?(start: number, end: number): string;
  utf8Slice?(start: number, end: number): string;
  base64Slice?(start: number, end: number): string;
  latin1Write?(text: string, offset: number, length?: number): number;
  utf8Write?(text: string, offset: number, length?: number): number;
}

/** The constructor of Node's Buffers, where there is one. */
interface NodeBuffer {
  from(buffer: ArrayBufferLike, byteOffset: number, length: number): NodeBytes;
}

const nodeBuffer = (globalThis as { Buffer?: NodeBuffer }).Buffer;

export const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/**
 * The text of `bytes[start, end)`, of which the caller knows that it is ASCII.
 *
 * A native call costs as much as putting eight characters together.
 */
export function asciiText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= 8) return shortText(bytes, start, end);
  const native = bytes as NodeBytes;
  if (native.latin1Slice !== undefined) return native.latin1Slice(start, end);
  return textDecoder.decode(bytes.subarray(start, end));
}

/** As {@link asciiText}, for eight characters at most. */
function shortText(bytes: Uint8Array, at: number, end: number): string {
  const a = bytes[at] as number;
  const b = bytes[at + 1] as number;
  const c = bytes[at + 2] as number;
  const d = bytes[at + 3] as number;
  switch (end - at) {
    case 0:
      return "";
    case 1:
      return String.fromCharCode(a);
    case 2:
      return String.fromCharCode(a, b);
    case 3:
      return String.fromCharCode(a, b, c);
    case 4:
      return String.fromCharCode(a, b, c, d);
  }
  const e = bytes[at + 4] as number;
  const f = bytes[at + 5] as number;
  const g = bytes[at + 6] as number;
  switch (end - at) {
    case 5:
      return String.fromCharCode(a, b, c, d, e);
    case 6:
      return String.fromCharCode(a, b, c, d, e, f);
    case 7:
      return String.fromCharCode(a, b, c, d, e, f, g);
    default:
      return String.fromCharCode(a, b, c, d, e, f, g, bytes[at + 7] as number);
  }
}

/** Memory larger than this is not kept by {@link viewOf}. */
const maxKeptView = 1 << 20;
let keptBytes = new Uint8Array(0);
let keptView = new DataView(keptBytes.buffer);

/**
 * A view of `bytes`, which reads four of them as fast as one. The last one is kept: most calls come
 * for the same array, and to make a view costs as much as to read a small message.
 */
export function viewOf(bytes: Uint8Array): DataView {
  if (bytes === keptBytes) return keptView;
  const { buffer, byteOffset, byteLength } = bytes;
  const view = new DataView(buffer, byteOffset, byteLength);
  if (buffer.byteLength <= maxKeptView) {
    keptBytes = bytes as Uint8Array<ArrayBuffer>;
    keptView = view as DataView<ArrayBuffer>;
  }
  return view;
}

/** The text of `bytes[start, end)`; what is not UTF-8 becomes U+FFFD. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string {
  const native = bytes as NodeBytes;
  if (native.utf8Slice !== undefined) return native.utf8Slice(start, end);
  return textDecoder.decode(bytes.subarray(start, end));
}

/** The text of `bytes[start, end)`, or `undefined` when they are not UTF-8. */
export function strictUtf8Text(bytes: Uint8Array, start: number, end: number): string | undefined {
  const text = utf8Text(bytes, start, end);
  if (!text.includes("\ufffd")) return text;
  try {
    return strictDecoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

/** `bytes` in base64, with padding (RFC 4648 §4). */
export function base64Text(bytes: Uint8Array): string {
  if (nodeBuffer !== undefined) {
    const native = nodeBuffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return (native as Required<NodeBytes>).base64Slice(0, bytes.byteLength);
  }
  let units = "";
  // In pieces, because every argument of a call takes a place on the stack.
  for (let at = 0; at < bytes.length; at += 4096) {
    units += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return btoa(units);
}

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

import { type NodeBytes, textEncoder } from "./byte-text.js";

/** Below this many characters a loop is faster than a native write. */
const shortText = 20;

/**
 * A growing run of bytes that encoders write into.
 *
 * Works on any Uint8Array, and uses the native writes of a Buffer where it is given one. Whoever
 * owns a writer sets `length` back to 0 when the bytes are sent, and calls {@link trim} now and
 * then, so that one large message does not hold its memory for ever.
 */
export class ByteWriter {
  readonly #allocate: (size: number) => Uint8Array;
  readonly #initialSize: number;
  /** Belongs to the writer: it may be another array after every write. */
  bytes: Uint8Array;
  /** The same memory as `bytes`, for numbers of several bytes. */
  view: DataView;
  /** How many of `bytes` are written; may be set back to an earlier value. */
  length = 0;

  /** @param allocate - Makes arrays; on a server `Buffer.allocUnsafeSlow`. */
  constructor(
    allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size),
    initialSize = 1024,
  ) {
    this.#allocate = allocate;
    this.#initialSize = initialSize;
    this.bytes = allocate(initialSize);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (this.bytes.length - this.length < count) this.#grow(count);
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.#grow(1);
    this.bytes[this.length++] = value;
  }

  /** Writes `text`, of which the caller knows that it is ASCII. */
  ascii(text: string): void {
    const length = text.length;
    this.reserve(length);
    const { bytes } = this;
    const native = bytes as NodeBytes;
    if (length > shortText && native.latin1Write !== undefined) {
      native.latin1Write(text, this.length, length);
    } else {
      for (let i = 0; i < length; i++) bytes[this.length + i] = text.charCodeAt(i);
    }
    this.length += length;
  }

  /**
   * Writes `text` in UTF-8; half a surrogate pair becomes U+FFFD.
   *
   * @returns How many bytes that were: as many as characters only when all of it is ASCII.
   */
  utf8(text: string): number {
    const length = text.length;
    // One character that is not ASCII needs a byte more than it has units, and a write that is cut
    // leaves three bytes at most: so with four to spare `length` bytes are the whole, and ASCII.
    this.reserve(length + 4);
    const start = this.length;
    if (length <= shortText) {
      const { bytes } = this;
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 127) break;
        bytes[start + i] = unit;
      }
      if (i === length) {
        this.length = start + length;
        return length;
      }
    }
    let written = this.#writeUtf8(text, start);
    if (written !== length && this.bytes.length - start < 3 * length) {
      this.reserve(3 * length);
      written = this.#writeUtf8(text, start);
    }
    this.length = start + written;
    return written;
  }

  /** Writes `bytes[start, end)`. */
  raw(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const count = end - start;
    this.reserve(count);
    if (count <= shortText) {
      for (let i = 0; i < count; i++) this.bytes[this.length + i] = bytes[start + i] as number;
    } else {
      const isWhole = start === 0 && end === bytes.length;
      this.bytes.set(isWhole ? bytes : bytes.subarray(start, end), this.length);
    }
    this.length += count;
  }

  /**
   * Gives back memory beyond `size` bytes, unless what is written needs it.
   *
   * @param size - Default: the size the writer began with.
   */
  trim(size = this.#initialSize): void {
    if (this.bytes.length > size && this.length <= size) this.#replace(size);
  }

  #writeUtf8(text: string, start: number): number {
    const native = this.bytes as NodeBytes;
    if (native.utf8Write !== undefined) return native.utf8Write(text, start);
    return textEncoder.encodeInto(text, this.bytes.subarray(start)).written;
  }

  #grow(count: number): void {
    this.#replace(Math.max(this.bytes.length * 2, this.length + count));
  }

  #replace(size: number): void {
    const bytes = this.#allocate(size);
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

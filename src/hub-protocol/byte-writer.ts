/** What Node's Buffer can do beyond an array of bytes, and does much faster than TextEncoder. */
interface BufferWrites {
  utf8Write(text: string, offset: number, length?: number): number;
  latin1Write(text: string, offset: number, length?: number): number;
}

const textEncoder = new TextEncoder();

/**
 * A growing run of bytes that encoders write into.
 *
 * Works on any Uint8Array, and uses the native writes of a Buffer where it is given one.
 */
export class ByteWriter {
  readonly #allocate: (size: number) => Uint8Array;
  bytes: Uint8Array;
  /** How many of `bytes` are written; may be set back to an earlier value. */
  length = 0;

  /** @param allocate - Makes arrays; on a server `Buffer.allocUnsafeSlow`. */
  constructor(
    allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size),
    initialSize = 1024,
  ) {
    this.#allocate = allocate;
    this.bytes = allocate(initialSize);
  }
}

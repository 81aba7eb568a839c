/**
 * Frames as the suite writes and reads them. Written from RFC 6455 §5.2 alone and deliberately apart
 * from `src/`: a mistake of the engine must not be repeated by what tests it.
 */

export const opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

/** A frame to be written, right or wrong: nothing here is checked. */
export interface FrameSpec {
  readonly opcode: number;
  /** A string stands for its UTF-8 bytes. Default: empty. */
  readonly payload?: Uint8Array | string;
  /** Default true. */
  readonly fin?: boolean;
  /** RSV1 is 4, RSV2 is 2, RSV3 is 1. Default 0. */
  readonly rsv?: number;
  /** Bits of the length field to use. Default: the shortest form. */
  readonly lengthForm?: 7 | 16 | 64;
  /** The length to declare. Default: the payload's. */
  readonly length?: bigint;
  /** Default: masked if a client writes. */
  readonly masked?: boolean;
  /** Default: one of four bytes that differ, so that a phase error shows. */
  readonly maskingKey?: Uint8Array;
}

/** A frame as it came. */
export interface Frame {
  readonly opcode: number;
  readonly fin: boolean;
  readonly rsv: number;
  readonly masked: boolean;
  /** Unmasked. */
  readonly payload: Buffer;
}

/** Which end writes the frame. */
export type Role = "client" | "server";

const defaultKey = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

/** The bytes of a frame that `role` writes. */
export function encodeFrame(spec: FrameSpec, role: Role = "client"): Buffer {
  const payload = Buffer.from(spec.payload ?? "");
  const length = spec.length ?? BigInt(payload.length);
  const form = spec.lengthForm ?? (length < 126n ? 7 : length < 65536n ? 16 : 64);
  const isMasked = spec.masked ?? role === "client";
  const first = ((spec.fin ?? true) ? 0x80 : 0) | ((spec.rsv ?? 0) << 4) | spec.opcode;
  const code = form === 7 ? Number(length) : form === 16 ? 126 : 127;
  const parts = [Buffer.from([first, (isMasked ? 0x80 : 0) | code])];
  if (form !== 7) {
    const extended = Buffer.alloc(8);
    extended.writeBigUInt64BE(length);
    parts.push(extended.subarray(form === 16 ? 6 : 0));
  }
  if (isMasked) {
    const key = Buffer.from(spec.maskingKey ?? defaultKey);
    parts.push(key);
    // Octet by octet, as §5.3 puts it.
    for (let index = 0; index < payload.length; index++) {
      payload[index] = (payload[index] as number) ^ (key[index % 4] as number);
    }
  }
  parts.push(payload);
  return Buffer.concat(parts);
}

/** The bytes of several frames behind each other. */
export function encodeFrames(specs: readonly FrameSpec[], role: Role = "client"): Buffer {
  return Buffer.concat(specs.map((spec) => encodeFrame(spec, role)));
}

/** A message cut into frames of `size` payload bytes; only the first keeps its opcode and RSV1. */
export function fragmentsOf(frame: FrameSpec, size: number): FrameSpec[] {
  const payload = Buffer.from(frame.payload ?? "");
  const frames: FrameSpec[] = [];
  for (let at = 0; at < Math.max(1, payload.length); at += size) {
    frames.push({
      ...(at === 0 ? frame : { opcode: opcode.continuation }),
      payload: payload.subarray(at, at + size),
      fin: at + size >= payload.length,
    });
  }
  return frames;
}

/** The payload of a Close frame. @see RFC 6455 §5.5.1 */
export function closePayload(code: number, reason: Uint8Array | string = ""): Buffer {
  return Buffer.concat([Buffer.from([code >>> 8, code & 0xff]), Buffer.from(reason)]);
}

/** Splits a stream of bytes into frames, without judging them beyond their length. */
export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #size = 0;

  /** Bytes that are no whole frame yet. */
  get pending(): number {
    return this.#size;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next frame, if it is wholly there. */
  read(): Frame | undefined {
    if (this.#size < 2) return undefined;
    // Joining is put off until the first header says how much is worth joining.
    const head = this.#peek(Math.min(this.#size, 14));
    const second = head[1] as number;
    const code = second & 0x7f;
    const masked = (second & 0x80) !== 0;
    const lengthEnd = code < 126 ? 2 : code === 126 ? 4 : 10;
    const start = lengthEnd + (masked ? 4 : 0);
    if (this.#size < start) return undefined;
    const length =
      code < 126 ? code : code === 126 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2));
    if (this.#size < start + length) return undefined;
    const bytes = this.#peek(this.#size);
    const payload = Buffer.from(bytes.subarray(start, start + length));
    if (masked) {
      for (let index = 0; index < length; index++) {
        payload[index] = (payload[index] as number) ^ (bytes[lengthEnd + (index % 4)] as number);
      }
    }
    this.#bytes = bytes.subarray(start + length);
    this.#size = this.#bytes.length;
    const first = head[0] as number;
    return {
      opcode: first & 0x0f,
      fin: (first & 0x80) !== 0,
      rsv: (first >> 4) & 7,
      masked,
      payload,
    };
  }

  /** The first `count` bytes that are there, in one buffer. */
  #peek(count: number): Buffer {
    if (this.#bytes.length < count) {
      this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks]);
      this.#chunks = [];
    }
    return this.#bytes;
  }
}

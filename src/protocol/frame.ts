import { MessageTooBigError, ProtocolError } from "../errors.js";

/** @see RFC 6455 §5.2 */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

/** A control frame has at most this many payload bytes (RFC 6455 §5.5). */
export const maxControlPayload = 125;
/** 2 fixed bytes, 8 of extended length, 4 of masking key. */
export const maxHeaderBytes = 14;

const finBit = 0x80;
const rsv1Bit = 0x40;
const maskBit = 0x80;

/** Which end of the connection this is; only a client masks (RFC 6455 §5.1). */
export type Role = "server" | "client";

/** The header of the frame being read; one object serves all frames of a connection. */
export class FrameHeader {
  isFinal = false;
  isCompressed = false;
  opcode = 0;
  length = 0;
  /** The masking key as a little-endian 32-bit integer; 0 changes nothing. */
  maskingKey = 0;
}

/** What the reader of a header must know of the connection. */
export interface HeaderRules {
  /** The end that reads. */
  readonly role: Role;
  /** Whether permessage-deflate was negotiated, which gives RSV1 its meaning (RFC 7692 §6). */
  readonly allowsCompression: boolean;
  /** Largest message in bytes, over all fragments. */
  readonly maxMessageSize: number;
}

/** How many bytes a header that begins with `second` as its second byte has in all. */
export function headerLength(second: number): number {
  const code = second & 0x7f;
  return 2 + (code < 126 ? 0 : code === 126 ? 2 : 8) + ((second & maskBit) !== 0 ? 4 : 0);
}

/**
 * Checks the two first bytes of a frame, as soon as they are there.
 *
 * @throws ProtocolError 1002 on reserved bits, an unknown opcode, a mask that is missing or
 *   must not be, a fragmented or oversized control frame.
 * @see RFC 6455 §5.1, §5.2, §5.5
 */
export function checkFirstBytes(first: number, second: number, rules: HeaderRules): void {
  const opcode = first & 0x0f;
  if ((first & 0x30) !== 0) {
    throw new ProtocolError("ERR_RESERVED_BITS", "A frame has the reserved bit RSV2 or RSV3 set.");
  }
  if ((opcode > 2 && opcode < 8) || opcode > 10) {
    throw new ProtocolError("ERR_OPCODE", `A frame has the unknown opcode ${opcode}.`);
  }
  if (
    (first & rsv1Bit) !== 0 &&
    !(rules.allowsCompression && (opcode === Opcode.text || opcode === Opcode.binary))
  ) {
    throw new ProtocolError(
      "ERR_RESERVED_BITS",
      "A frame has RSV1 set where compression was not agreed or does not apply.",
    );
  }
  if (((second & maskBit) !== 0) !== (rules.role === "server")) {
    throw new ProtocolError(
      "ERR_MASK",
      rules.role === "server"
        ? "A frame from the client is not masked."
        : "A frame from the server is masked.",
    );
  }
  if (opcode >= Opcode.close) {
    if ((first & finBit) === 0) {
      throw new ProtocolError("ERR_CONTROL_FRAME", "A control frame is fragmented.");
    }
    if ((second & 0x7f) > maxControlPayload) {
      throw new ProtocolError(
        "ERR_CONTROL_FRAME",
        `A control frame has more than ${maxControlPayload} payload bytes.`,
      );
    }
  }
}

/**
 * Reads a header that is wholly there, its first two bytes already checked.
 *
 * @param input - Network bytes; `headerLength` of them from `at` on are present.
 * @throws ProtocolError 1002 on a length that is not in its shortest form or has its top bit set.
 * @throws MessageTooBigError for a length that no message may have; before any payload is read.
 * @see RFC 6455 §5.2
 */
export function readHeader(
  input: Uint8Array,
  at: number,
  header: FrameHeader,
  rules: HeaderRules,
): void {
  const first = input[at] as number;
  const second = input[at + 1] as number;
  header.isFinal = (first & finBit) !== 0;
  header.isCompressed = (first & rsv1Bit) !== 0;
  header.opcode = first & 0x0f;
  let next = at + 2;
  let length = second & 0x7f;
  if (length === 126) {
    length = ((input[next] as number) << 8) | (input[next + 1] as number);
    if (length < 126) throw notShortest();
    next += 2;
  } else if (length === 127) {
    const high = readUint32(input, next);
    if (high >= 0x80000000) {
      throw new ProtocolError("ERR_LENGTH", "A frame's 64-bit length has its top bit set.");
    }
    // Beyond 2^53 a sum would be inexact; no limit reaches that far.
    if (high >= 0x200000) throw new MessageTooBigError(rules.maxMessageSize);
    length = high * 0x100000000 + readUint32(input, next + 4);
    if (length < 0x10000) throw notShortest();
    next += 8;
  }
  header.length = length;
  header.maskingKey =
    (second & maskBit) === 0
      ? 0
      : (input[next] as number) |
        ((input[next + 1] as number) << 8) |
        ((input[next + 2] as number) << 16) |
        ((input[next + 3] as number) << 24);
}

function notShortest(): ProtocolError {
  return new ProtocolError("ERR_LENGTH", "A frame's length is not in its shortest form.");
}

function readUint32(input: Uint8Array, at: number): number {
  return (
    (input[at] as number) * 0x1000000 +
    (((input[at + 1] as number) << 16) |
      ((input[at + 2] as number) << 8) |
      (input[at + 3] as number))
  );
}

/** How many bytes a header for `length` payload bytes takes. */
export function headerLengthFor(length: number, isMasked: boolean): number {
  return (length < 126 ? 2 : length < 0x10000 ? 4 : 10) + (isMasked ? 4 : 0);
}

/**
 * Writes a header in its shortest form.
 *
 * @param first - FIN, RSV1 and opcode, as {@link firstByte} builds it.
 * @param maskingKey - Little-endian 32-bit key, or `undefined` for an unmasked frame.
 * @returns The index after the header.
 * @see RFC 6455 §5.2
 */
export function writeHeader(
  target: Uint8Array,
  at: number,
  first: number,
  length: number,
  maskingKey: number | undefined,
): number {
  const mask = maskingKey === undefined ? 0 : maskBit;
  let next = at;
  target[next++] = first;
  if (length < 126) {
    target[next++] = mask | length;
  } else if (length < 0x10000) {
    target[next++] = mask | 126;
    target[next++] = length >>> 8;
    target[next++] = length & 0xff;
  } else {
    target[next++] = mask | 127;
    const high = Math.floor(length / 0x100000000);
    for (let shift = 24; shift >= 0; shift -= 8) target[next++] = (high >>> shift) & 0xff;
    for (let shift = 24; shift >= 0; shift -= 8) target[next++] = (length >>> shift) & 0xff;
  }
  if (maskingKey !== undefined) {
    for (let shift = 0; shift < 32; shift += 8) target[next++] = (maskingKey >>> shift) & 0xff;
  }
  return next;
}

/** The first byte of a frame. */
export function firstByte(opcode: number, isFinal: boolean, isCompressed = false): number {
  return (isFinal ? finBit : 0) | (isCompressed ? rsv1Bit : 0) | opcode;
}

import { isUtf8 } from "node:buffer";
import { type CloseInfo, MessageTooBigError, ProtocolError, ViolationError } from "../errors.js";
import { encodeClose, parseClose } from "./close.js";
import {
  checkFirstBytes,
  FrameHeader,
  firstByte,
  type HeaderRules,
  headerLength,
  maxControlPayload,
  maxHeaderBytes,
  Opcode,
  type Role,
  readHeader,
} from "./frame.js";
import { FrameWriter } from "./frame-writer.js";
import { applyMask } from "./mask.js";
import { Utf8Validator } from "./utf8.js";

export type MessageType = "text" | "binary";

/** What the protocol tells its owner, by direct calls while it reads. */
export interface ProtocolEvents {
  /**
   * A piece of a message: `chunk[start..end)`, unmasked and, for text, valid so far. The bytes are
   * a part of the chunk given to `receive`: copy them to keep them long. While `isCompressed` is
   * set they are compressed, and nothing is known of the text in them.
   *
   * @param endsFrame - Whether the piece is the last one of its frame.
   * @param endsMessage - Whether the piece is the last one of its message.
   */
  onData(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    endsFrame: boolean,
    endsMessage: boolean,
  ): void;
  /** A pong, asked for or not; `payload` is a view. */
  onPong(payload: Buffer): void;
  /** The peer's Close frame. Nothing is read after it. */
  onClose(close: CloseInfo): void;
  /** The peer broke a rule. Nothing is read after it; `fail` answers when the owner is ready. */
  onViolation(error: ViolationError): void;
}

/** The first bytes of frames that are a whole message, and the bit of the second that says masked. */
const wholeText = 0x81;
const wholeBinary = 0x82;
const maskBit = 0x80;

function opcodeOf(type: MessageType): number {
  return type === "text" ? Opcode.text : Opcode.binary;
}

/** Limits and agreements of one connection. */
export interface ProtocolOptions {
  readonly role: Role;
  /** Largest message in bytes, over all its fragments. */
  readonly maxMessageSize: number;
  /** Whether permessage-deflate was agreed on. Default false. */
  readonly allowsCompression?: boolean;
}

/**
 * One end of a WebSocket connection without any I/O: network bytes in, events out; messages in,
 * network bytes out. Answers pings and validates everything on its own.
 *
 * @see RFC 6455 §5, §6, §7
 */
export class Protocol implements HeaderRules {
  readonly role: Role;
  readonly maxMessageSize: number;
  readonly allowsCompression: boolean;
  readonly #events: ProtocolEvents;
  readonly #writer: FrameWriter;

  /** The Close frames, once there are any. */
  closeReceived: CloseInfo | undefined;
  closeSent: CloseInfo | undefined;
  /** While set, `receive` stops after the present piece; its owner sets and clears it. */
  isSuspended = false;
  /** While set, automatic pongs wait, and only the latest is kept; see {@link sendLatestPong}. */
  isCongested = false;

  /** Whether the message that the last piece belongs to is compressed. @see RFC 7692 §6 */
  isCompressed = false;

  /** Whether the last piece is all ASCII, which is cheaper to make a string of. */
  isAscii = false;

  #isReading = true;
  readonly #header = new FrameHeader();
  /** A header that is cut by the end of a chunk, and how many bytes of it are there. */
  #partialHeader: Buffer | undefined;
  #partialLength = 0;
  /** Payload bytes of the current frame still to come; -1 between frames. */
  #remaining = -1;
  /** Payload of a control frame that is cut by the end of a chunk. */
  #controlPayload: Buffer | undefined;

  #messageType: MessageType | undefined;
  #messageSize = 0;
  /** Present from the first text message that came in more than one piece. */
  #utf8: Utf8Validator | undefined;

  #isSendingFragments = false;
  #latestPing: Uint8Array | undefined;

  constructor(
    events: ProtocolEvents,
    { role, maxMessageSize, allowsCompression = false }: ProtocolOptions,
  ) {
    this.#events = events;
    this.role = role;
    this.maxMessageSize = maxMessageSize;
    this.allowsCompression = allowsCompression;
    this.#writer = new FrameWriter(role === "client");
  }

  // --- in ---

  /** Whether more input can mean anything: no Close frame came and no rule was broken. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /**
   * Reads network bytes, unmasking them in place, and reports what they mean.
   *
   * @param end - How many bytes of `chunk` there are.
   * @returns How many bytes were used: fewer than there are only when `isSuspended` was set
   *   meanwhile or nothing is read any more.
   */
  receive(chunk: Buffer, end = chunk.length): number {
    let at = 0;
    try {
      while (at < end && this.#isReading && !this.isSuspended) {
        at =
          this.#remaining >= 0
            ? this.#receivePayload(chunk, at, end)
            : this.#receiveWhole(chunk, at, end) || this.#receiveHeader(chunk, at, end);
      }
    } catch (error) {
      if (!(error instanceof ViolationError)) throw error;
      this.#isReading = false;
      this.#events.onViolation(error);
    }
    return at;
  }

  /** Bytes of the current frame that have not come yet. */
  get remainingInFrame(): number {
    return Math.max(0, this.#remaining);
  }

  /**
   * The usual frame, handled without a trace in our state: a whole message, not compressed, below
   * 64 KiB, masked, all of it in the chunk. What follows it says the same of every frame.
   *
   * @returns The index after it, or 0 when the frame is another kind, or wrong.
   */
  #receiveWhole(chunk: Buffer, at: number, end: number): number {
    if (at + 8 > end || this.#messageType !== undefined || this.#partialLength > 0) return 0;
    const first = chunk[at] as number;
    const type = first === wholeText ? "text" : first === wholeBinary ? "binary" : undefined;
    let length = (chunk[at + 1] as number) - maskBit;
    let start = at + 6;
    if (length === 126) {
      length = ((chunk[at + 2] as number) << 8) | (chunk[at + 3] as number);
      if (length < 126) return 0;
      start = at + 8;
    }
    const frameEnd = start + length;
    const isFit = length >= 0 && length !== 127 && length <= this.maxMessageSize;
    if (type === undefined || !isFit || frameEnd > end || this.role !== "server") return 0;
    const maskingKey =
      (chunk[start - 4] as number) |
      ((chunk[start - 3] as number) << 8) |
      ((chunk[start - 2] as number) << 16) |
      ((chunk[start - 1] as number) << 24);
    this.isAscii = applyMask(chunk, start, frameEnd, maskingKey, 0) < 0x80;
    this.isCompressed = false;
    if (type === "text") this.#checkText(chunk, start, frameEnd, this.isAscii, true, true);
    this.#events.onData(type, chunk, start, frameEnd, true, true);
    return frameEnd;
  }

  #receiveHeader(chunk: Buffer, at: number, end: number): number {
    // Fast path: the whole header lies in the chunk, as nearly all do.
    if (this.#partialLength === 0 && end - at >= 2) {
      const second = chunk[at + 1] as number;
      checkFirstBytes(chunk[at] as number, second, this);
      const next = at + headerLength(second);
      if (next <= end) {
        readHeader(chunk, at, this.#header, this);
        return this.#beginFrame(chunk, next, end);
      }
    }
    return this.#receiveHeaderByBytes(chunk, at, end);
  }

  #receiveHeaderByBytes(chunk: Buffer, start: number, end: number): number {
    this.#partialHeader ??= Buffer.alloc(maxHeaderBytes);
    const header = this.#partialHeader;
    for (let at = start; at < end; ) {
      header[this.#partialLength++] = chunk[at++] as number;
      if (this.#partialLength === 2)
        checkFirstBytes(header[0] as number, header[1] as number, this);
      if (this.#partialLength >= 2 && this.#partialLength === headerLength(header[1] as number)) {
        this.#partialLength = 0;
        readHeader(header, 0, this.#header, this);
        return this.#beginFrame(chunk, at, end);
      }
    }
    return end;
  }

  #beginFrame(chunk: Buffer, at: number, end: number): number {
    const { opcode, length } = this.#header;
    this.#remaining = length;
    if (opcode < Opcode.close) this.#beginData(opcode, length);
    // A frame without payload is complete already, and no later byte would make it so.
    return length === 0 ? this.#receivePayload(chunk, at, end) : at;
  }

  #beginData(opcode: number, length: number): void {
    if (opcode === Opcode.continuation) {
      if (this.#messageType === undefined) {
        throw new ProtocolError("ERR_FRAGMENT", "A continuation frame has no message to continue.");
      }
    } else if (this.#messageType !== undefined) {
      throw new ProtocolError(
        "ERR_FRAGMENT",
        "A new message begins before the fragmented one has ended.",
      );
    } else {
      this.#messageType = opcode === Opcode.text ? "text" : "binary";
      this.isCompressed = this.#header.isCompressed;
      this.#messageSize = 0;
    }
    this.#messageSize += length;
    if (this.#messageSize > this.maxMessageSize) throw new MessageTooBigError(this.maxMessageSize);
  }

  #receivePayload(chunk: Buffer, start: number, chunkEnd: number): number {
    const header = this.#header;
    const end = Math.min(chunkEnd, start + this.#remaining);
    const offset = header.length - this.#remaining;
    const isAscii = applyMask(chunk, start, end, header.maskingKey, offset) < 0x80;
    this.#remaining -= end - start;
    const endsFrame = this.#remaining === 0;
    if (endsFrame) this.#remaining = -1;
    if (header.opcode >= Opcode.close) {
      this.#receiveControl(chunk.subarray(start, end), offset, endsFrame);
      return end;
    }
    this.isAscii = isAscii;
    const type = this.#messageType as MessageType;
    const endsMessage = endsFrame && header.isFinal;
    if (type === "text" && !this.isCompressed) {
      const isWhole = endsMessage && this.#messageSize === end - start;
      this.#checkText(chunk, start, end, isAscii, isWhole, endsMessage);
    }
    if (endsMessage) this.#messageType = undefined;
    this.#events.onData(type, chunk, start, end, endsFrame, endsMessage);
    return end;
  }

  #checkText(
    chunk: Buffer,
    start: number,
    end: number,
    isAscii: boolean,
    isWhole: boolean,
    endsMessage: boolean,
  ): void {
    if (isAscii && (this.#utf8 === undefined || this.#utf8.isComplete)) return;
    const piece = chunk.subarray(start, end);
    let isValid: boolean;
    if (isWhole) {
      isValid = isUtf8(piece);
    } else {
      this.#utf8 ??= new Utf8Validator();
      isValid = this.#utf8.accepts(piece) && (!endsMessage || this.#utf8.isComplete);
    }
    if (!isValid) {
      throw new ProtocolError("ERR_INVALID_UTF8", "A text message is not UTF-8.", 1007);
    }
  }

  #receiveControl(piece: Buffer, offset: number, endsFrame: boolean): void {
    let payload = piece;
    if (offset > 0 || !endsFrame) {
      this.#controlPayload ??= Buffer.alloc(maxControlPayload);
      this.#controlPayload.set(piece, offset);
      if (!endsFrame) return;
      payload = this.#controlPayload.subarray(0, offset + piece.length);
      this.#controlPayload = undefined;
    }
    switch (this.#header.opcode) {
      case Opcode.ping:
        this.#answerPing(payload);
        break;
      case Opcode.pong:
        this.#events.onPong(payload);
        break;
      default:
        this.closeReceived = parseClose(payload);
        this.#isReading = false;
        this.#events.onClose(this.closeReceived);
    }
  }

  // --- out ---

  /**
   * Adds a frame of a message to the output.
   *
   * @param type - Ignored in a frame that continues a message.
   * @param endsMessage - Whether it is the last frame of its message.
   * @param isCompressed - Whether `data` belongs to a compressed message.
   * @returns Whether `data` itself became part of the output; see {@link FrameWriter.writeBytes}.
   */
  sendData(
    type: MessageType,
    data: string | Uint8Array,
    endsMessage: boolean,
    isCompressed = false,
  ): boolean {
    const continues = this.#isSendingFragments;
    this.#isSendingFragments = !endsMessage;
    // RSV1 stands on a message's first frame only (RFC 7692 §6.1).
    const first = continues
      ? firstByte(Opcode.continuation, endsMessage)
      : firstByte(opcodeOf(type), endsMessage, isCompressed);
    if (typeof data !== "string") return this.#writer.writeBytes(first, data);
    this.#writer.writeText(first, data);
    return false;
  }

  /** Adds a whole message, `source[start..end)`, which is copied. */
  sendRange(type: MessageType, source: Uint8Array, start: number, end: number): void {
    this.#writer.writeRange(firstByte(opcodeOf(type), true), source, start, end);
  }

  /** Whether a message was begun with `sendData` and not ended. */
  get isSendingFragments(): boolean {
    return this.#isSendingFragments;
  }

  /** Adds a whole message in a frame that was encoded before, unmasked. */
  sendFrame(frame: Uint8Array): void {
    this.#writer.writeFrame(frame);
  }

  /** Adds a PING. @param payload - At most 125 bytes. */
  sendPing(payload: Uint8Array): void {
    this.#writer.writeBytes(firstByte(Opcode.ping, true), payload);
  }

  /** Adds a PONG that nobody asked for. @see RFC 6455 §5.5.3 */
  sendPong(payload: Uint8Array): void {
    this.#writer.writeBytes(firstByte(Opcode.pong, true), payload);
  }

  /**
   * Adds our Close frame, after which nothing may be sent; does nothing if it was sent before.
   *
   * @throws RangeError for a code that may not be sent or a description that is too long.
   */
  sendClose(status: number, description: string): void {
    if (this.closeSent !== undefined) return;
    const payload = encodeClose(status, description);
    this.closeSent = { status, description };
    this.#latestPing = undefined;
    this.#writer.writeBytes(firstByte(Opcode.close, true), payload);
  }

  /** Reads nothing more, because of a violation that its owner found. */
  stopReading(): void {
    this.#isReading = false;
  }

  /** Tells the peer what it did wrong: the one place that turns a violation into a close code. */
  fail(error: ViolationError): void {
    this.#isReading = false;
    this.sendClose(error.closeCode, "");
  }

  /** Answers the latest ping that came while `isCongested` was set. */
  sendLatestPong(): void {
    const payload = this.#latestPing;
    this.#latestPing = undefined;
    if (payload !== undefined) this.sendPong(payload);
  }

  /** Bytes that {@link takeOutput} would return. */
  get outputSize(): number {
    return this.#writer.size;
  }

  /** Takes the bytes to be written: see {@link FrameWriter.take}. */
  takeOutput(): Uint8Array | Uint8Array[] | undefined {
    return this.#writer.take();
  }

  #answerPing(payload: Buffer): void {
    if (this.closeSent !== undefined) return;
    if (this.isCongested) {
      // RFC 6455 §5.5.3 allows to answer the most recent ping only, so that a flood cannot queue.
      this.#latestPing = new Uint8Array(payload);
    } else {
      this.sendPong(payload);
    }
  }
}

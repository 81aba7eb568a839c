import { InvalidStateError } from "../errors.js";
import type { MessageType, Protocol } from "../protocol/protocol.js";
import { type MessageDeflate, sliceSize } from "./deflate.js";
import { JobQueue } from "./job-queue.js";
import { PreparedMessage } from "./prepared-message.js";

/** What a connection gives to be sent: a prepared message is always whole. */
export type OutgoingData = string | Uint8Array | PreparedMessage;

/**
 * Compresses what a connection sends and keeps it in order: what takes longer than a turn is not
 * overtaken by what was sent later, compressed or not.
 */
export class OutgoingDeflate {
  readonly #protocol: Protocol;
  readonly #deflate: MessageDeflate;
  readonly #threshold: number;
  readonly #jobs = new JobQueue();
  /** Whether the last call left its message open, and whether that message is compressed. */
  #isInMessage = false;
  #isCompressing = false;

  /** @param threshold - Messages of fewer bytes are sent as they are. */
  constructor(protocol: Protocol, deflate: MessageDeflate, threshold: number) {
    this.#protocol = protocol;
    this.#deflate = deflate;
    this.#threshold = threshold;
  }

  /** Whether nothing waits. */
  get isIdle(): boolean {
    return this.#jobs.isIdle;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#jobs.bytes;
  }

  /** Whether a whole message of `size` bytes would be sent as it is, and at once. */
  passes(size: number): boolean {
    return size < this.#threshold && !this.#isInMessage && this.#jobs.isIdle;
  }

  /** Resolves when what was sent so far has been given to the protocol. */
  whenIdle(): Promise<unknown> {
    return this.#jobs.whenIdle();
  }

  /**
   * Gives a message, or a fragment of one, to the protocol.
   *
   * @param compress - Whether to compress it; counts in a message's first fragment.
   * @returns Whether `data` itself became part of the output; a promise where that takes time.
   */
  send(
    type: MessageType,
    data: OutgoingData,
    endsMessage: boolean,
    compress: boolean,
  ): boolean | Promise<boolean> {
    if (this.#isInMessage && data instanceof PreparedMessage) throw fragmentsOpen();
    const size = sizeOf(data);
    if (!this.#isInMessage) {
      this.#isCompressing = compress && (!endsMessage || size >= this.#threshold);
    }
    this.#isInMessage = !endsMessage;
    const isCompressed = this.#isCompressing;
    if (!this.#jobs.isIdle) {
      return this.#jobs.add(size, () => this.#write(type, data, endsMessage, isCompressed));
    }
    const isHandedOver = this.#write(type, data, endsMessage, isCompressed);
    return isHandedOver instanceof Promise
      ? this.#jobs.add(size, () => isHandedOver)
      : isHandedOver;
  }

  #write(
    type: MessageType,
    data: OutgoingData,
    endsMessage: boolean,
    isCompressed: boolean,
  ): boolean | Promise<boolean> {
    const protocol = this.#protocol;
    if (!isCompressed) return sendPlain(protocol, type, data, endsMessage);
    const isShared = data instanceof PreparedMessage && protocol.role === "server";
    if (isShared && this.#deflate.isStateless) {
      const compress = (bytes: Uint8Array) => this.#deflate.compress(bytes, true);
      const frame = data.compressedFrame(this.#deflate.key, compress);
      if (frame instanceof Promise) return frame.then((bytes) => this.#sendFrame(bytes));
      return this.#sendFrame(frame);
    }
    const bytes = bytesOf(data);
    const { length } = bytes;
    const payload = this.#deflate.compress(bytes, endsMessage);
    return payload instanceof Promise
      ? payload.then((compressed) => this.#emit(type, data, length, compressed, endsMessage))
      : this.#emit(type, data, length, payload, endsMessage);
  }

  /** @param length - Bytes that `data` has uncompressed. */
  #emit(
    type: MessageType,
    data: OutgoingData,
    length: number,
    compressed: Uint8Array,
    endsMessage: boolean,
  ): boolean {
    this.#checkOpen();
    const protocol = this.#protocol;
    const isWhole = endsMessage && !protocol.isSendingFragments;
    if (compressed.length < length || !isWhole || !this.#deflate.isStateless) {
      protocol.sendData(type, compressed, endsMessage, true);
      return false;
    }
    // What did not get smaller is sent as it was, where the peer's window does not miss it.
    return protocol.sendData(
      type,
      data instanceof PreparedMessage ? data.bytes : data,
      endsMessage,
    );
  }

  #sendFrame(frame: Uint8Array): boolean {
    this.#checkOpen();
    this.#protocol.sendFrame(frame);
    return false;
  }

  /** Between the call and now our Close may have been sent. */
  #checkOpen(): void {
    if (this.#protocol.closeSent === undefined) return;
    throw new InvalidStateError("ERR_CLOSE_SENT", "The socket was closed before this was sent.");
  }
}

/** Gives data to the protocol as it is. @returns As {@link Protocol.sendData} does. */
export function sendPlain(
  protocol: Protocol,
  type: MessageType,
  data: OutgoingData,
  endsMessage: boolean,
): boolean {
  if (typeof data === "string" || data instanceof Uint8Array) {
    return protocol.sendData(type, data, endsMessage);
  }
  if (protocol.isSendingFragments) throw fragmentsOpen();
  // A client masks each frame anew, so that it shares nothing.
  if (protocol.role === "client") return protocol.sendData(type, data.bytes, true);
  protocol.sendFrame(data.frame());
  return false;
}

function fragmentsOpen(): InvalidStateError {
  return new InvalidStateError(
    "ERR_FRAGMENTS_OPEN",
    "A prepared message cannot continue a message; end that with endOfMessage first.",
  );
}

function sizeOf(data: OutgoingData): number {
  // Of a string this is at least a third of its bytes, which is near enough for a bound.
  return data instanceof PreparedMessage ? data.bytes.length : data.length;
}

/** Strings that are compressed at once are encoded here. */
const encoded = Buffer.allocUnsafeSlow(sliceSize);

/** The bytes of `data`, for as long as nothing else is encoded. */
function bytesOf(data: OutgoingData): Uint8Array {
  if (typeof data !== "string") return data instanceof PreparedMessage ? data.bytes : data;
  if (data.length * 3 > encoded.length) return Buffer.from(data, "utf8");
  return encoded.subarray(0, encoded.write(data));
}

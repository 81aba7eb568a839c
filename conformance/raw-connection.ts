import type { Socket } from "node:net";
import type { PeerDeflate } from "./deflate.js";
import {
  encodeFrames,
  type Frame,
  FrameReader,
  type FrameSpec,
  opcode,
  type Role,
} from "./frames.js";

/** A message whose fragments were put together. */
export interface RawMessage {
  readonly type: "text" | "binary";
  readonly payload: Buffer;
  /** How many frames it came in. */
  readonly fragments: number;
  /** Whether it came compressed; `payload` is not in any case. */
  readonly isCompressed: boolean;
}

/** What the other end sent, in order, checked against what that end may send. */
export type Received =
  | { readonly kind: "message"; readonly message: RawMessage }
  | { readonly kind: "ping"; readonly payload: Buffer }
  | { readonly kind: "pong"; readonly payload: Buffer }
  | { readonly kind: "close"; readonly payload: Buffer }
  | { readonly kind: "end"; readonly error?: Error };

interface PartialMessage {
  readonly type: "text" | "binary";
  readonly isCompressed: boolean;
  readonly parts: Buffer[];
}

/**
 * One end of a connection that can send anything and reads strictly: a frame that breaks RFC 6455
 * ends the case with an error that says how.
 *
 * It never answers by itself, and knows of the transport only what every duplex stream has, so that
 * the same cases can run over TLS or an HTTP/2 stream, in either role.
 */
export class RawConnection {
  /** Which end this is. */
  readonly role: Role;
  /** TCP or TLS; of another stream only `write`, `end`, `destroy` and the usual events are used. */
  readonly socket: Socket;
  /** Our half of permessage-deflate, if it was agreed on. */
  readonly deflate: PeerDeflate | undefined;
  readonly #reader = new FrameReader();
  readonly #received: Received[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  #hasEnded = false;
  #wasCloseReceived = false;
  #message: PartialMessage | undefined;

  /** @param head - Bytes that came with the handshake. */
  constructor(socket: Socket, role: Role, head: Buffer, deflate: PeerDeflate | undefined) {
    this.socket = socket;
    this.role = role;
    this.deflate = deflate;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd(undefined));
    socket.on("error", (error) => this.#onEnd(error));
    socket.on("close", () => this.#onEnd(undefined));
    if (head.length > 0) this.#onData(head);
  }

  /** Whether the other end has ended TCP. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The next thing that came; waits for it. @throws Error for what may not come. */
  async next(): Promise<Received> {
    for (;;) {
      const received = this.#received.shift();
      if (received !== undefined) return received;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#hasEnded) return { kind: "end" };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Sends frames in one write, or `octets` bytes at a time. */
  send(frames: FrameSpec | readonly FrameSpec[], octets?: number): Promise<void> {
    const list = Array.isArray(frames) ? (frames as readonly FrameSpec[]) : [frames as FrameSpec];
    return this.write(encodeFrames(list, this.role), octets);
  }

  /** Sends bytes in one write, or `octets` at a time with a turn of the event loop between. */
  async write(bytes: Uint8Array, octets = bytes.length): Promise<void> {
    for (let at = 0; at < bytes.length; at += octets) {
      await this.#write(bytes.subarray(at, at + octets));
      if (octets < bytes.length) await new Promise(setImmediate);
    }
  }

  /** Ends our direction of TCP. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** A write to a connection that the other end has given up is no failure: what it said counts. */
  #write(bytes: Uint8Array): Promise<void> {
    if (this.socket.destroyed || this.socket.writableEnded) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.socket.off("close", done);
        resolve();
      };
      this.socket.once("close", done);
      this.socket.write(bytes, done);
    });
  }

  #onData(chunk: Buffer): void {
    this.#reader.push(chunk);
    try {
      for (let frame = this.#reader.read(); frame !== undefined; frame = this.#reader.read()) {
        this.#onFrame(frame);
      }
    } catch (error) {
      this.#failure ??= error as Error;
    }
    this.#wakeUp();
  }

  #onFrame(frame: Frame): void {
    const { payload } = frame;
    check(!this.#wasCloseReceived, "a frame after the Close frame (§5.5.1)");
    const mayBeCompressed = frame.opcode === opcode.text || frame.opcode === opcode.binary;
    check(
      frame.rsv === 0 || (frame.rsv === 4 && mayBeCompressed && this.deflate !== undefined),
      "a reserved bit is set that no extension gives a meaning (§5.2, RFC 7692 §6)",
    );
    check(frame.masked === (this.role === "server"), "the mask bit is wrong for that end (§5.1)");
    if (frame.opcode >= opcode.close) {
      check(frame.fin, "a control frame is fragmented (§5.5)");
      check(payload.length <= 125, "a control frame has more than 125 bytes (§5.5)");
    }
    switch (frame.opcode) {
      case opcode.text:
      case opcode.binary:
        check(this.#message === undefined, "a message begins within another (§5.4)");
        this.#message = {
          type: frame.opcode === opcode.text ? "text" : "binary",
          isCompressed: frame.rsv === 4,
          parts: [],
        };
        this.#addFragment(frame);
        break;
      case opcode.continuation:
        check(this.#message !== undefined, "a continuation frame has nothing to continue (§5.4)");
        this.#addFragment(frame);
        break;
      case opcode.ping:
        this.#received.push({ kind: "ping", payload });
        break;
      case opcode.pong:
        this.#received.push({ kind: "pong", payload });
        break;
      case opcode.close:
        this.#wasCloseReceived = true;
        this.#received.push({ kind: "close", payload });
        break;
      default:
        check(false, `the opcode ${frame.opcode} is reserved (§5.2)`);
    }
  }

  #addFragment({ payload, fin }: Frame): void {
    const message = this.#message as PartialMessage;
    message.parts.push(payload);
    if (!fin) return;
    this.#message = undefined;
    const { type, isCompressed, parts } = message;
    const bytes = Buffer.concat(parts);
    this.#received.push({
      kind: "message",
      message: {
        type,
        payload: isCompressed ? this.#inflate(bytes) : bytes,
        fragments: parts.length,
        isCompressed,
      },
    });
  }

  #inflate(bytes: Buffer): Buffer {
    try {
      return (this.deflate as PeerDeflate).inflate(bytes);
    } catch (error) {
      throw new Error(`received: no valid deflate data (RFC 7692 §7.2.2): ${error}`);
    }
  }

  #onEnd(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (this.#reader.pending > 0) {
      this.#failure ??= new Error("received: TCP ended in the middle of a frame");
    }
    this.#received.push({ kind: "end", ...(error && { error }) });
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

function check(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new Error(`received: ${violation}`);
}

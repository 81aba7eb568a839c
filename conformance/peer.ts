import assert from "node:assert/strict";
import type { CompressOptions, PeerDeflate } from "./deflate.js";
import { closePayload, encodeFrames, type FrameSpec, opcode, type Role } from "./frames.js";
import type { RawConnection, RawMessage, Received } from "./raw-connection.js";

/** What a suite run knows of the implementation under test. */
export interface Subject {
  /** Which end it is; the suite plays the other. Default: a server. */
  readonly role?: Role;
  /** Largest message it takes, in bytes; `Infinity` if there is no limit. */
  readonly maxMessageSize: number;
}

/** One case. It passes when `run` resolves. */
export interface Case {
  /** For example `"6.4.2"`; the first number is that of the public suite's group on the theme. */
  readonly id: string;
  readonly title: string;
  /** Where the expectation comes from, for example `"RFC 6455 §5.5.1"`. */
  readonly section: string;
  /** Milliseconds after which the case has failed. Default 10 000. */
  readonly timeLimit?: number;
  /** For a case about compression. */
  readonly deflate?: DeflateWish;
  /** For a case that makes sense against this end only. */
  readonly subject?: Role;
  /** Plays our end of a fresh connection to an ECHO implementation. */
  run(peer: Peer): Promise<void>;
}

/** What a case wants of the opening handshake. @see RFC 7692 §7.1 */
export interface DeflateWish {
  /**
   * `Sec-WebSocket-Extensions` of the suite as a client. As a server it answers the client's own
   * offer with the same parameters.
   */
  readonly offer: string;
  /**
   * What must become of the offer. `"accepted"` (default): if it is not, the case cannot be played
   * and counts as left out. `"either"`: nobody is obliged to anything.
   */
  readonly outcome?: "accepted" | "declined" | "either";
  /** Whether the offer is malformed, so that the handshake may be refused too (RFC 6455 §9.1). */
  readonly isMalformed?: boolean;
}

/** A case before its group gives it an id. */
export type CaseRow = Omit<Case, "id">;

/** Gives rows the ids `<prefix>.1`, `<prefix>.2` and so on. */
export function number(prefix: string, rows: readonly CaseRow[]): Case[] {
  return rows.map((row, index) => ({ id: `${prefix}.${index + 1}`, ...row }));
}

/**
 * Our end of the connection in one case: sends anything, and states what an echo must answer.
 *
 * The order of kinds is left free where RFC 6455 leaves it free: an expectation for a pong lets
 * messages pass by, and they are kept for the next expectation.
 */
export class Peer {
  readonly #connection: RawConnection;
  readonly #kept: Received[] = [];

  constructor(connection: RawConnection) {
    this.#connection = connection;
  }

  /** Which end we are. */
  get role(): Role {
    return this.#connection.role;
  }

  /** Our half of permessage-deflate. @throws Error where it was not agreed on. */
  get deflate(): PeerDeflate {
    const { deflate } = this.#connection;
    assert.ok(deflate, "the case is not about compression");
    return deflate;
  }

  /** Whether compression was agreed on. */
  get isCompressing(): boolean {
    return this.#connection.deflate !== undefined;
  }

  // --- sending ---

  /** The bytes of frames as our end writes them. */
  encode(frames: FrameSpec | readonly FrameSpec[]): Buffer {
    return encodeFrames([frames].flat(), this.role);
  }

  /** A frame with the mask bit that belongs to the other end. @see RFC 6455 §5.1 */
  wronglyMasked(frame: FrameSpec): FrameSpec {
    return { ...frame, masked: this.role !== "client" };
  }

  /** A whole compressed message in one frame. @see RFC 7692 §7.2.1 */
  compressed(
    type: "text" | "binary",
    payload: Uint8Array | string,
    options?: CompressOptions,
  ): FrameSpec {
    return { opcode: opcode[type], rsv: 4, payload: this.deflate.compress(payload, options) };
  }

  /** Sends frames together in one write, or cut into pieces of `octets` bytes. */
  send(frames: FrameSpec | readonly FrameSpec[], octets?: number): Promise<void> {
    return this.#connection.send(frames, octets);
  }

  /** Sends frames, each in a write of its own with a turn of the event loop between. */
  async sendApart(frames: readonly FrameSpec[]): Promise<void> {
    for (const frame of frames) {
      await this.send(frame);
      await new Promise(setImmediate);
    }
  }

  /** Sends bytes as they are. */
  write(bytes: Uint8Array, octets?: number): Promise<void> {
    return this.#connection.write(bytes, octets);
  }

  /** Ends our direction of TCP. */
  endTcp(): void {
    this.#connection.end();
  }

  // --- expecting ---

  /** The message comes back, whole and of its type, in however many fragments. */
  async expectEcho(type: "text" | "binary", payload: Uint8Array | string): Promise<RawMessage> {
    const received = await this.#nextOf("message");
    const { message } = received;
    assert.equal(message.type, type, "type of the echo");
    const wanted = Buffer.from(payload);
    // A diff of a megabyte helps nobody.
    assert.ok(
      message.payload.equals(wanted),
      `the echo has other bytes: ${describeBytes(message.payload)} instead of ${describeBytes(wanted)}`,
    );
    return message;
  }

  /** A pong with exactly that payload. @see RFC 6455 §5.5.3 */
  async expectPong(payload: Uint8Array | string): Promise<void> {
    const received = await this.#nextOf("pong");
    assert.equal(received.payload.toString("hex"), Buffer.from(payload).toString("hex"), "pong");
  }

  /**
   * Pongs to several pings: in their order, the last one among them; others may be left out.
   * @see RFC 6455 §5.5.3
   */
  async expectPongs(payloads: readonly string[]): Promise<void> {
    let at = 0;
    while (at < payloads.length) {
      const received = await this.#nextOf("pong");
      const found = payloads.indexOf(received.payload.toString(), at);
      assert.ok(found >= 0, `a pong that answers no ping: ${received.payload.toString("hex")}`);
      at = found + 1;
    }
  }

  /**
   * Ends a case that went well: our Close 1000, the same back, the end of TCP, and nothing that
   * nobody expected before.
   * @see RFC 6455 §7.1.1, §7.1.2, §5.5.1
   */
  async closeCleanly(): Promise<void> {
    await this.send({ opcode: opcode.close, payload: closePayload(1000) });
    await this.expectClose([1000]);
  }

  /** A Close with one of the codes (`undefined` for an empty one), then the end of TCP. */
  async expectClose(codes: readonly (number | undefined)[]): Promise<void> {
    const received = this.#kept.shift() ?? (await this.#next());
    assert.equal(received.kind, "close", `expected Close, received ${describe(received)}`);
    const { payload } = received as Extract<Received, { kind: "close" }>;
    const code = payload.length < 2 ? undefined : payload.readUInt16BE(0);
    assert.ok(payload.length !== 1, "the Close frame has a payload of one byte (§5.5.1)");
    assert.ok(codes.includes(code), `Close has the code ${code}, expected ${codes.join(" or ")}`);
    await this.expectEnd();
  }

  /**
   * The connection is failed: a Close with one of the codes, then the end of TCP. Pongs to pings
   * that came before are let pass; a message is not.
   * @see RFC 6455 §7.1.7
   */
  async expectFailure(...codes: number[]): Promise<void> {
    this.#dropPongs();
    let received = await this.#next();
    while (received.kind === "pong") received = await this.#next();
    this.#kept.push(received);
    await this.expectClose(codes);
  }

  /**
   * TCP ends, and nothing more is sent before. It is the server that ends it; so a client may wait
   * until we do.
   * @see RFC 6455 §7.1.1
   */
  async expectEnd(): Promise<void> {
    if (this.role === "server") this.endTcp();
    const received = this.#kept.shift() ?? (await this.#next());
    assert.equal(received.kind, "end", `expected the end of TCP, received ${describe(received)}`);
    const { error } = received as Extract<Received, { kind: "end" }>;
    assert.equal(error, undefined, `expected TCP to end in order, but: ${error?.message}`);
  }

  /** The next of its kind; what comes before it is kept. Pings are answered, as §5.5.2 demands. */
  async #nextOf<K extends Received["kind"]>(kind: K): Promise<Extract<Received, { kind: K }>> {
    const index = this.#kept.findIndex((each) => each.kind === kind);
    if (index >= 0) return this.#kept.splice(index, 1)[0] as Extract<Received, { kind: K }>;
    for (;;) {
      const received = await this.#next();
      if (received.kind === kind) return received as Extract<Received, { kind: K }>;
      const mayPass = received.kind === "message" || received.kind === "pong";
      assert.ok(mayPass, `expected a ${kind}, received ${describe(received)}`);
      this.#kept.push(received);
    }
  }

  async #next(): Promise<Received> {
    for (;;) {
      const received = await this.#connection.next();
      if (received.kind !== "ping") return received;
      await this.send({ opcode: opcode.pong, payload: received.payload });
    }
  }

  #dropPongs(): void {
    const others = this.#kept.filter((each) => each.kind !== "pong");
    this.#kept.length = 0;
    this.#kept.push(...others);
    assert.equal(this.#kept.length, 0, "a message came that nobody expected");
  }
}

function describe(received: Received): string {
  switch (received.kind) {
    case "message":
      return `a ${received.message.type} message ${describeBytes(received.message.payload)}`;
    case "end":
      return `the end of TCP${received.error ? ` (${received.error.message})` : ""}`;
    case "close":
      return received.payload.length < 2
        ? "an empty Close"
        : `Close ${received.payload.readUInt16BE(0)}`;
    default:
      return `a ${received.kind} ${describeBytes(received.payload)}`;
  }
}

function describeBytes(bytes: Buffer): string {
  const start = bytes.subarray(0, 24).toString("hex");
  return `<${start}${bytes.length > 24 ? "…" : ""}> (${bytes.length} bytes)`;
}

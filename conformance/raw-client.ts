import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
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
  readonly parts: Buffer[];
}

/**
 * One end of a connection that can send anything and reads strictly: a frame that breaks RFC 6455
 * ends the case with an error that says how.
 *
 * It never answers by itself, and knows of the transport only what every socket has, so that the
 * same cases can run over TLS or an HTTP/2 stream, in either role.
 */
export class RawConnection {
  /** Which end this is. */
  readonly role: Role;
  readonly socket: Socket;
  readonly #reader = new FrameReader();
  readonly #received: Received[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  #hasEnded = false;
  #wasCloseReceived = false;
  #message: PartialMessage | undefined;

  constructor(socket: Socket, role: Role, head: Buffer = Buffer.alloc(0)) {
    this.socket = socket;
    this.role = role;
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
    check(frame.rsv === 0, "a reserved bit is set, with no extension agreed on (§5.2)");
    check(frame.masked === (this.role === "server"), "the mask bit is wrong for that end (§5.1)");
    if (frame.opcode >= opcode.close) {
      check(frame.fin, "a control frame is fragmented (§5.5)");
      check(payload.length <= 125, "a control frame has more than 125 bytes (§5.5)");
    }
    switch (frame.opcode) {
      case opcode.text:
      case opcode.binary:
        check(this.#message === undefined, "a message begins within another (§5.4)");
        this.#message = { type: frame.opcode === opcode.text ? "text" : "binary", parts: [] };
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
    this.#received.push({
      kind: "message",
      message: {
        type: message.type,
        payload: Buffer.concat(message.parts),
        fragments: message.parts.length,
      },
    });
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

/** The answer to a handshake that was refused. */
export class RefusedError extends Error {
  /** The answer's head and whatever of the body came with it. */
  readonly answer: string;

  constructor(answer: string) {
    super(`The handshake was answered with "${answer.split("\r\n", 1)[0]}".`);
    this.answer = answer;
  }
}

export interface RawConnectOptions {
  /** More lines for the request, without line ends. */
  readonly headers?: readonly string[];
  /** Time for TCP and handshake, in milliseconds. Default 10 000. */
  readonly timeout?: number;
}

/** Opens TCP to the server of a `ws:` URL. */
export function connectTcp(url: URL): Socket {
  if (url.protocol !== "ws:") throw new Error(`Only ws: URLs are supported, not ${url.href}.`);
  // An IPv6 address stands in brackets in a URL and without them in a socket's address.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const socket = connect({ host, port: Number(url.port || 80), allowHalfOpen: true });
  // Every write is a segment of its own, so that a server sees the cuts.
  socket.setNoDelay(true);
  return socket;
}

/** The request of an opening handshake. @see RFC 6455 §4.1 */
export function handshakeRequest(url: URL, key: string, headers: readonly string[] = []): string {
  return [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
    ...headers,
    "\r\n",
  ].join("\r\n");
}

/**
 * Connects and shakes hands, checking the answer strictly.
 *
 * @throws RefusedError for an answer other than 101, Error for one that may not be or comes late.
 * @see RFC 6455 §4.1, §4.2.2
 */
export function connectRaw(
  url: string | URL,
  { headers = [], timeout = 10_000 }: RawConnectOptions = {},
): Promise<RawConnection> {
  const target = new URL(url);
  const key = randomBytes(16).toString("base64");
  const socket = connectTcp(target);
  return new Promise((resolve, reject) => {
    let answer: Buffer = Buffer.alloc(0);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`No handshake within ${timeout} ms.`)), timeout);
    const onEnd = () => fail(new Error("TCP ended within the handshake."));
    const onData = (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      const end = answer.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = answer.toString("latin1", 0, end);
      try {
        checkAnswer(head, key, answer);
      } catch (error) {
        fail(error as Error);
        return;
      }
      clearTimeout(timer);
      socket.off("data", onData).off("end", onEnd).off("error", fail);
      resolve(new RawConnection(socket, "client", answer.subarray(end + 4)));
    };
    socket.on("data", onData).on("end", onEnd).on("error", fail);
    socket.write(handshakeRequest(target, key, headers));
  });
}

function checkAnswer(head: string, key: string, answer: Buffer): void {
  const [statusLine = "", ...lines] = head.split("\r\n");
  if (!/^HTTP\/1\.1 101(?: |$)/.test(statusLine)) throw new RefusedError(answer.toString("latin1"));
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const accept = createHash("sha1")
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  check(fields.get("upgrade")?.toLowerCase() === "websocket", "no Upgrade: websocket (§4.2.2)");
  check(
    fields
      .get("connection")
      ?.toLowerCase()
      .split(/\s*,\s*/)
      .includes("upgrade") ?? false,
    "no Connection: Upgrade (§4.2.2)",
  );
  check(fields.get("sec-websocket-accept") === accept, "a wrong Sec-WebSocket-Accept (§4.2.2)");
  check(!fields.has("sec-websocket-extensions"), "an extension that was not offered (§4.1)");
}

/** A client that shows everything: hub messages over a WebSocket, byte by byte where wanted. */
import assert from "node:assert/strict";
import { decode, encode } from "@msgpack/msgpack";
import { WebSocket } from "ws";
import { once, timeLimit, withTimeout } from "../../support/network.js";
import type { Scene } from "./case.js";
import type { ProtocolName } from "./clients.js";
import { type Negotiated, negotiate, recordSeparator } from "./http.js";

export type Message = Record<string, unknown> & { type?: number };

export interface Frame {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

/** A WebSocket whose messages are taken one by one. */
export class SocketPeer {
  readonly socket: WebSocket;
  readonly #frames: Frame[] = [];
  #closed: { code: number; reason: string } | undefined;
  /** What the socket itself complains about, such as a text that is not UTF-8. */
  error: Error | undefined;
  #wake = () => {};

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary) => {
      this.#frames.push({ data, isBinary });
      this.#wake();
    });
    socket.on("error", (error) => {
      this.error = error;
    });
    socket.on("close", (code, reason) => {
      this.#closed = { code, reason: reason.toString() };
      this.#wake();
    });
  }

  /** The next message of the socket; `undefined` when it is closed. */
  nextFrame(what = "a frame"): Promise<Frame | undefined> {
    const search = async () => {
      for (;;) {
        const frame = this.#frames.shift();
        if (frame !== undefined || this.#closed !== undefined) return frame;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    return withTimeout(search(), timeLimit, what);
  }

  /** Puts a frame back in front. */
  unread(frame: Frame): void {
    this.#frames.unshift(frame);
  }

  async nextText(): Promise<string> {
    const frame = await this.nextFrame();
    assert.ok(frame, `closed: ${JSON.stringify(this.#closed)}`);
    return frame.data.toString();
  }

  /** The closing code and reason; messages before are dropped. */
  async whenClosed(): Promise<{ code: number; reason: string }> {
    while ((await this.nextFrame("the close")) !== undefined);
    return this.#closed as { code: number; reason: string };
  }

  send(data: string | Uint8Array, options: { binary?: boolean; fin?: boolean } = {}): void {
    this.socket.send(data, options);
  }

  /** Ends the TCP connection without a closing frame. */
  drop(): void {
    this.socket.terminate();
  }
}

export interface SocketOptions {
  readonly headers?: Record<string, string>;
  readonly subprotocols?: string[];
}

/** Opens a WebSocket at a path with its query. */
export async function openSocket(
  scene: Scene,
  path: string,
  { headers = {}, subprotocols = [] }: SocketOptions = {},
): Promise<SocketPeer> {
  const address = scene.url(path).replace("http", "ws");
  const socket = new WebSocket(address, subprotocols, { headers, perMessageDeflate: false });
  scene.defer(() => socket.terminate());
  const peer = new SocketPeer(socket);
  await once(socket, "open");
  return peer;
}

/** What an upgrade is refused with; fails if it is accepted. */
export async function refusedUpgrade(
  scene: Scene,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const socket = new WebSocket(scene.url(path).replace("http", "ws"), { headers });
  scene.defer(() => socket.terminate());
  socket.on("error", () => {});
  const response = await withTimeout(
    new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
      socket.once("unexpected-response", (_request, answer) => resolve(answer));
      socket.once("open", () => reject(new Error("the upgrade was accepted")));
    }),
    timeLimit,
    "the refusal",
  );
  let text = "";
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode as number, text };
}

// --- hub messages ---

/** A frame of MessagePack with its length in front. */
export function frameBytes(body: Uint8Array): Buffer {
  const prefix: number[] = [];
  let rest = body.length;
  do {
    prefix.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(prefix), body]);
}

/** A MessagePack frame, as .NET writes it. */
export function packMessage(message: Message): Buffer {
  const { type, invocationId, target, item, streamIds, headers = {} } = message;
  const id = invocationId ?? null;
  const array = (() => {
    switch (type) {
      case 1:
      case 4:
        return [type, headers, id, target, message.arguments, streamIds ?? []];
      case 2:
        return [2, headers, id, item];
      case 3:
        if (message.error !== undefined) return [3, headers, id, 1, message.error];
        return "result" in message ? [3, headers, id, 3, message.result] : [3, headers, id, 2];
      case 5:
        return [5, headers, id];
      case 7:
        return [7, message.error ?? null, message.allowReconnect ?? false];
      case 8:
      case 9:
        return [type, message.sequenceId];
      default:
        return [type];
    }
  })();
  return frameBytes(encode(array));
}

/** The same shape that JSON has, so that cases can be the same. */
function unpackMessage(array: unknown[]): Message {
  const [type, ...rest] = array as [number, ...unknown[]];
  switch (type) {
    case 1: {
      const [, invocationId, target, args] = rest;
      return { type, ...(invocationId != null && { invocationId }), target, arguments: args };
    }
    case 2:
      return { type, invocationId: rest[1], item: rest[2] };
    case 3: {
      const [, invocationId, kind, value] = rest;
      if (kind === 1) return { type, invocationId, error: value };
      return { type, invocationId, ...(kind === 3 && { result: value }) };
    }
    case 7:
      return {
        type,
        ...(rest[0] != null && { error: rest[0] }),
        ...(rest[1] === true && { allowReconnect: true }),
      };
    case 8:
    case 9:
      return { type, sequenceId: rest[0] };
    default:
      return { type };
  }
}

/** Splits whole messages, without their lengths. */
export function splitFrames(data: Buffer): Buffer[] {
  const bodies: Buffer[] = [];
  for (let at = 0; at < data.length; ) {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = data[at++];
      assert.ok(byte !== undefined, "a message is cut");
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    assert.ok(at + length <= data.length, "a message is cut");
    bodies.push(data.subarray(at, at + length));
    at += length;
  }
  return bodies;
}

export interface HubOptions {
  readonly protocol?: ProtocolName;
  /** Version in the handshake. */
  readonly version?: number;
  readonly isStateful?: boolean;
  readonly token?: string | undefined;
  /** More of the query. */
  readonly query?: string;
}

/** One end of a hub connection. */
export class HubPeer extends SocketPeer {
  readonly scene: Scene;
  readonly path: string;
  readonly protocol: ProtocolName;
  readonly negotiated: Negotiated;
  readonly #messages: Message[] = [];
  #nextId = 0;
  pings = 0;

  constructor(
    socket: WebSocket,
    about: { scene: Scene; path: string; protocol: ProtocolName; negotiated: Negotiated },
  ) {
    super(socket);
    this.scene = about.scene;
    this.path = about.path;
    this.protocol = about.protocol;
    this.negotiated = about.negotiated;
  }

  get connectionId(): string {
    return this.negotiated.connectionId;
  }

  get token(): string {
    return this.negotiated.connectionToken;
  }

  sendMessage(...messages: Message[]): void {
    this.send(this.encode(...messages));
  }

  encode(...messages: Message[]): string | Buffer {
    if (this.protocol === "messagepack") return Buffer.concat(messages.map(packMessage));
    return messages.map((each) => `${JSON.stringify(each)}${recordSeparator}`).join("");
  }

  /** Every message of the next frame. */
  #parse({ data, isBinary }: Frame): Message[] {
    assert.equal(isBinary, this.protocol === "messagepack", "the kind of frame");
    if (this.protocol === "messagepack") {
      return splitFrames(data).map((body) => unpackMessage(decode(body) as unknown[]));
    }
    const text = data.toString();
    assert.ok(text.endsWith(recordSeparator), `a message is cut: ${text}`);
    return text
      .slice(0, -1)
      .split(recordSeparator)
      .map((each) => JSON.parse(each));
  }

  /** The next message that is not a ping; `undefined` when the connection is closed. */
  async nextOrClosed(what?: string): Promise<Message | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message?.type === 6) this.pings++;
      else if (message !== undefined) return message;
      else {
        const frame = await this.nextFrame(what);
        if (frame === undefined) return undefined;
        this.#messages.push(...this.#parse(frame));
      }
    }
  }

  async next(what = "a message"): Promise<Message> {
    const message = await this.nextOrClosed(what);
    assert.ok(message, `closed before ${what}`);
    return message;
  }

  /** The next messages are exactly these. */
  async expect(...messages: Message[]): Promise<void> {
    for (const each of messages) assert.deepEqual(await this.next(JSON.stringify(each)), each);
  }

  /** The next message is Close, and then the connection is closed. @returns The message. */
  async expectClose(): Promise<Message> {
    const message = await this.next("the Close message");
    assert.equal(message.type, 7, JSON.stringify(message));
    assert.equal(await this.nextOrClosed("the close"), undefined);
    return message;
  }

  /** Sends an invocation. @returns Its id. */
  start(target: string, ...args: unknown[]): string {
    const invocationId = String(this.#nextId++);
    this.sendMessage({ type: 1, invocationId, target, arguments: args });
    return invocationId;
  }

  /** Sends a stream invocation. @returns Its id. */
  startStream(target: string, ...args: unknown[]): string {
    const invocationId = String(this.#nextId++);
    this.sendMessage({ type: 4, invocationId, target, arguments: args });
    return invocationId;
  }

  /** Calls a method; nothing else may come in between. @returns Its result. */
  async invoke(target: string, ...args: unknown[]): Promise<unknown> {
    const invocationId = this.start(target, ...args);
    const { result, ...rest } = await this.next(`the completion of ${target}`);
    assert.deepEqual(rest, { type: 3, invocationId });
    return result;
  }

  /** Calls a method that fails. @returns The error. */
  async invokeForError(target: string, ...args: unknown[]): Promise<unknown> {
    const invocationId = this.start(target, ...args);
    const { error, ...rest } = await this.next(`the completion of ${target}`);
    assert.deepEqual(rest, { type: 3, invocationId });
    return error;
  }

  /** It still answers: nothing before was fatal, and nothing else has come. */
  async isAlive(): Promise<void> {
    assert.equal(await this.invoke("Echo", "alive?"), "alive?");
  }
}

/** A hub connection before its handshake. */
export async function openUnshaken(
  scene: Scene,
  path = "/wire",
  { protocol = "json", isStateful = false, token, query = "" }: HubOptions = {},
): Promise<HubPeer> {
  const negotiated = await negotiate(scene, path, { isStateful, token });
  const address = scene.url(`${path}?id=${negotiated.connectionToken}${query}`);
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  const socket = new WebSocket(address.replace("http", "ws"), {
    headers,
    perMessageDeflate: false,
  });
  scene.defer(() => socket.terminate());
  const peer = new HubPeer(socket, { scene, path, protocol, negotiated });
  await once(socket, "open");
  return peer;
}

/** The handshake's reply; hub messages may follow in the same frame. */
export async function takeHandshakeReply(peer: HubPeer): Promise<string> {
  const frame = await peer.nextFrame("the handshake's reply");
  assert.ok(frame, "closed before the handshake's reply");
  assert.equal(frame.isBinary, peer.protocol === "messagepack", "the kind of frame");
  const end = frame.data.indexOf(recordSeparator) + 1;
  assert.ok(end > 0, `no whole reply: ${frame.data}`);
  if (end < frame.data.length) peer.unread({ ...frame, data: frame.data.subarray(end) });
  return frame.data.toString("utf8", 0, end);
}

/** A hub connection after its handshake. */
export async function openHub(
  scene: Scene,
  path = "/wire",
  options: HubOptions = {},
): Promise<HubPeer> {
  const peer = await openUnshaken(scene, path, options);
  const { protocol = "json", version = options.isStateful ? 2 : 1 } = options;
  peer.send(`${JSON.stringify({ protocol, version })}${recordSeparator}`);
  assert.equal(await takeHandshakeReply(peer), `{}${recordSeparator}`);
  return peer;
}

/** Another socket for the same connection, as after a loss. */
export async function reopen(peer: HubPeer): Promise<HubPeer> {
  const { scene, path, protocol, negotiated, token } = peer;
  const address = scene.url(`${path}?id=${token}`).replace("http", "ws");
  const socket = new WebSocket(address, { perMessageDeflate: false });
  scene.defer(() => socket.terminate());
  const next = new HubPeer(socket, { scene, path, protocol, negotiated });
  await once(socket, "open");
  return next;
}

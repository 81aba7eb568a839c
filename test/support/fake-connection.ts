/** Hubs without a network: a connection that keeps what was sent, and a client that speaks over it. */
import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "halyard";
import type { HubConnection } from "#dist/hub/hub-connection.js";
import { HubHandler } from "#dist/hub/hub-handler.js";
import type {
  Connection,
  ConnectionEnd,
  HubClass,
  HubMessage,
  HubOptions,
  HubProtocol,
  SharedBytes,
} from "#dist/hub/index.js";
import { json } from "#dist/hub/index.js";
import type { CloseReason } from "#dist/hub/transport.js";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import { parseHandshakeResponse } from "#dist/hub-protocol/handshake.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
import { until } from "./network.js";

let lastId = 0;

/** What a test says of a connection; the rest is as with an anonymous WebSocket. */
export type ConnectionTraits = Partial<
  Pick<Connection, "id" | "transport" | "request" | "user" | "userId" | "allowsReconnect">
>;

/** What was given to a {@link FakeConnection} in one piece. */
export interface Sent {
  readonly bytes: Buffer;
  /** The object that others get too, if it was one. */
  readonly shared: SharedBytes | undefined;
  /** As it was when the bytes came. */
  readonly allowsReconnect: boolean;
}

/** The transport's side of a connection, in arrays. */
export class FakeConnection implements Connection {
  readonly id: string;
  readonly transport: Connection["transport"];
  readonly request: Connection["request"];
  user: unknown;
  userId: string | undefined;
  allowsReconnect: boolean;
  format: Connection["format"] = "Text";
  bufferedBytes = 0;
  transportMaxBufferSize = 64 * 1024;
  applicationMaxBufferSize = 64 * 1024;
  readonly sent: Sent[] = [];
  /** Every call that is none of sending, in order. */
  readonly events: string[] = [];
  /** Called at the beginning of each send. */
  onSend: ((connection: FakeConnection) => void) | undefined;

  constructor(traits: ConnectionTraits = {}) {
    this.id = traits.id ?? `connection-${++lastId}`;
    this.transport = traits.transport ?? "WebSockets";
    this.request = traits.request ?? {
      headers: {},
      query: new URLSearchParams(),
      path: "/hub",
      remoteAddress: "127.0.0.1",
      raw: undefined,
    };
    this.user = traits.user;
    this.userId = traits.userId;
    this.allowsReconnect = traits.allowsReconnect ?? false;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.onSend?.(this);
    this.#keep(Buffer.from(bytes.subarray(start, end)), undefined);
  }

  sendShared(message: SharedBytes): void {
    this.onSend?.(this);
    this.#keep(Buffer.from(message.bytes), message);
  }

  #keep(bytes: Buffer, shared: SharedBytes | undefined): void {
    this.sent.push({ bytes, shared, allowsReconnect: this.allowsReconnect });
  }

  pause(): void {
    this.events.push("pause");
  }

  resume(): void {
    this.events.push("resume");
  }

  close(reason: CloseReason): void {
    this.events.push(`close ${reason}`);
  }

  abort(): void {
    this.events.push("abort");
  }

  /** Whether input is paused now. */
  get isPaused(): boolean {
    const changes = this.events.filter((event) => event === "pause" || event === "resume");
    return changes.at(-1) === "pause";
  }

  /** How our side ended it, if it did. */
  get ending(): string | undefined {
    return this.events.find((event) => event === "abort" || event.startsWith("close"));
  }
}

/** A message without what is not there, to be compared. */
export type Brief = Readonly<Record<string, unknown>>;

function brief(message: HubMessage): Brief {
  switch (message.type) {
    case MessageType.invocation:
    case MessageType.streamInvocation: {
      const { target, arguments: args, invocationId } = message;
      return { call: target, args, ...(invocationId !== undefined && { id: invocationId }) };
    }
    case MessageType.streamItem:
      return { id: message.invocationId, item: message.item };
    case MessageType.completion: {
      const { invocationId: id, error, hasResult, result } = message;
      if (error !== undefined) return { id, error };
      return hasResult ? { id, result } : { id };
    }
    case MessageType.cancelInvocation:
      return { cancel: message.invocationId };
    case MessageType.ping:
      return { ping: true };
    case MessageType.close: {
      const { error, allowReconnect } = message;
      return {
        close: true,
        ...(error !== undefined && { error }),
        ...(allowReconnect && { allowReconnect }),
      };
    }
    case MessageType.ack:
      return { ack: message.sequenceId };
    case MessageType.sequence:
      return { sequence: message.sequenceId };
  }
}

/** The Close message that ends a connection. */
export function closing(error?: string, allowReconnect = false): Brief {
  return {
    close: true,
    ...(error !== undefined && { error }),
    ...(allowReconnect && { allowReconnect }),
  };
}

/** A message in a protocol, with its framing. */
export function encoded(protocol: HubProtocol, message: HubMessage): Buffer {
  const writer = new ByteWriter();
  protocol.encode(message, writer);
  return Buffer.from(writer.bytes.subarray(0, writer.length));
}

export interface ClientTraits extends ConnectionTraits {
  /** Default: JSON. */
  readonly protocol?: HubProtocol;
  /** Of the handshake; 2 with `allowsReconnect`. */
  readonly version?: number;
  /** Whether the client shakes hands at once. Default true. */
  readonly shakesHands?: boolean;
}

/** A SignalR client on a {@link FakeConnection}. What it reads must be whole messages in each piece. */
export class FakeClient {
  readonly connection: FakeConnection;
  readonly protocol: HubProtocol;
  readonly hub: HubConnection;
  #read = 0;
  #handshake: { error: string | undefined } | undefined;
  readonly #unread: Brief[] = [];
  #lastInvocation = 0;

  constructor(handler: HubHandler, traits: ClientTraits = {}) {
    this.connection = new FakeConnection(traits);
    this.protocol = traits.protocol ?? json();
    this.hub = handler.open(this.connection);
    if (traits.shakesHands === false) return;
    this.shakeHands(traits.version ?? (traits.allowsReconnect ? 2 : 1));
  }

  get id(): string {
    return this.connection.id;
  }

  shakeHands(version = 1): void {
    this.write(`${JSON.stringify({ protocol: this.protocol.name, version })}\x1e`);
  }

  // --- what the client says ---

  /** Gives bytes to the hub as a transport does: valid during the call only. */
  write(...pieces: (string | Uint8Array)[]): void {
    const bytes = Buffer.concat(pieces.map((piece) => Buffer.from(piece as string)));
    // Around them is what is none of the hub's business.
    const chunk = Buffer.concat([Buffer.from("##"), bytes, Buffer.from('{"type":99}\x1e')]);
    this.hub.receive(chunk, 2, 2 + bytes.length);
    chunk.fill(0x58);
  }

  encode(message: HubMessage): Buffer {
    return encoded(this.protocol, message);
  }

  /** Says several messages in one piece. */
  send(...messages: HubMessage[]): void {
    this.write(...messages.map((message) => this.encode(message)));
  }

  /** Calls a method. @returns The id of the call. */
  call(target: string, ...args: unknown[]): string {
    const invocationId = String(++this.#lastInvocation);
    this.send(invocation(target, args, invocationId));
    return invocationId;
  }

  /** Calls a method without wanting an answer. */
  post(target: string, ...args: unknown[]): void {
    this.send(invocation(target, args));
  }

  /** Calls a method and waits for the end of the call, which must be the next message. */
  async invoke(target: string, ...args: unknown[]): Promise<Brief> {
    const id = this.call(target, ...args);
    const { id: answered, ...answer } = await this.next();
    assert.equal(answered, id);
    return answer;
  }

  /** Calls a streaming method. @returns The id of the call. */
  stream(target: string, ...args: unknown[]): string {
    const invocationId = String(++this.#lastInvocation);
    this.send(streamInvocation(invocationId, target, args));
    return invocationId;
  }

  item(invocationId: string, item: unknown): void {
    this.send({ type: MessageType.streamItem, invocationId, item });
  }

  complete(invocationId: string, outcome: { error?: string; result?: unknown } = {}): void {
    this.send(completion(invocationId, outcome));
  }

  cancel(invocationId: string): void {
    this.send({ type: MessageType.cancelInvocation, invocationId });
  }

  ping(): void {
    this.send({ type: MessageType.ping });
  }

  close(error?: string): void {
    this.send({ type: MessageType.close, error });
  }

  // --- what the client hears ---

  /** The answer to the handshake, if it came: its `error`, or `""`. */
  get handshake(): string | undefined {
    this.#parse();
    return this.#handshake && (this.#handshake.error ?? "");
  }

  /** Messages that came and were not taken; taking them. */
  take(): Brief[] {
    this.#parse();
    return this.#unread.splice(0);
  }

  /** Takes the next message. */
  async next(): Promise<Brief> {
    return (await this.nextFew(1))[0] as Brief;
  }

  /** Takes so many messages. */
  async nextFew(count: number): Promise<Brief[]> {
    await until(
      () => {
        this.#parse();
        return this.#unread.length >= count;
      },
      `${count} message(s), not only ${JSON.stringify(this.#unread)}`,
    );
    return this.#unread.splice(0, count);
  }

  /** Takes all messages until our side ended the connection. */
  async untilEnded(): Promise<Brief[]> {
    await until(() => this.connection.ending !== undefined, "the end of the connection");
    return this.take();
  }

  /** Fails if a message comes within a few turns. */
  async hearsNothing(): Promise<void> {
    await turns();
    assert.deepEqual(this.take(), []);
  }

  #parse(): void {
    const { sent } = this.connection;
    while (this.#read < sent.length) {
      const { bytes } = sent[this.#read++] as Sent;
      const input = { bytes, at: 0, end: bytes.length };
      this.#handshake ??= parseHandshakeResponse(input, Infinity);
      while (input.at < input.end) {
        const message = this.protocol.parse(input, Infinity);
        assert.ok(message, "a piece of what was sent holds no whole messages");
        this.#unread.push(brief(message));
      }
    }
  }

  // --- what the transport says ---

  /** The transport ended. */
  end(end: ConnectionEnd = { cause: "client" }): void {
    this.hub.closed(end);
  }

  /** The network took everything. */
  drain(): void {
    this.connection.bufferedBytes = 0;
    this.hub.drained();
  }

  /** A socket is lost and another comes, as transports tell it. */
  swapSockets(): void {
    this.hub.interrupted();
    this.hub.resumed();
  }
}

export function invocation(
  target: string,
  args: unknown[],
  invocationId?: string,
  streamIds?: string[],
): HubMessage {
  return { type: MessageType.invocation, target, arguments: args, invocationId, streamIds };
}

export function streamInvocation(
  invocationId: string,
  target: string,
  args: unknown[],
  streamIds?: string[],
): HubMessage {
  return { type: MessageType.streamInvocation, target, arguments: args, invocationId, streamIds };
}

export function completion(
  invocationId: string,
  { error, ...rest }: { error?: string; result?: unknown } = {},
): HubMessage {
  const hasResult = "result" in rest;
  return { type: MessageType.completion, invocationId, error, hasResult, result: rest.result };
}

/** Lets everything happen that can without anything from outside. */
export async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}

/** A logger that keeps its lines. */
export class Lines implements Logger {
  readonly lines: { level: string; message: string; details: object | undefined }[] = [];

  #add(level: string, message: string, details: object | undefined): void {
    this.lines.push({ level, message, details });
  }

  debug(message: string, details?: object): void {
    this.#add("debug", message, details);
  }

  info(message: string, details?: object): void {
    this.#add("info", message, details);
  }

  warn(message: string, details?: object): void {
    this.#add("warn", message, details);
  }

  error(message: string, details?: object): void {
    this.#add("error", message, details);
  }

  /** The messages of one level. */
  of(level: string): string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }
}

/** A handler whose log stays out of the console. */
// biome-ignore lint/suspicious/noExplicitAny: options for any hub.
export function handlerOf(hubClass: HubClass, options: HubOptions<any> = {}): HubHandler {
  return new HubHandler(hubClass, { logger: new Lines(), ...options });
}

/** A client of a hub class that nobody else is connected to. */
export function clientOf(
  hubClass: HubClass,
  // biome-ignore lint/suspicious/noExplicitAny: options for any hub.
  options: HubOptions<any> = {},
  traits: ClientTraits = {},
): FakeClient {
  const supportedProtocols = traits.protocol && [traits.protocol];
  const handler = handlerOf(hubClass, {
    ...(supportedProtocols && { supportedProtocols }),
    ...options,
  });
  return new FakeClient(handler, traits);
}

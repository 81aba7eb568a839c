import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import {
  ConnectionClosedError,
  HalyardError,
  InvalidStateError,
  MemoryBudget,
  type Message,
  prepareMessage,
  SendBufferFullError,
  type SocketOptions,
} from "halyard";
import type { CloseMessage } from "#dist/engine/message-queue.js";
import { resolveSocketOptions } from "#dist/engine/options.js";
import { WebSocketConnection } from "#dist/engine/web-socket-connection.js";
import type { DeflateAgreement } from "#dist/protocol/deflate-offer.js";
import { quietLogger, tcpPair } from "../test/support/socket-pair.js";
import { payloads, texts } from "./arbitraries.js";
import { isDocumented } from "./trace.js";

/** When a signal fires: before the call, within it, some turns later. */
type Firing = "before" | "at once" | "later" | undefined;

type Operation =
  | { readonly kind: "receive" | "next" | "empty" | "ping"; readonly signal: Firing }
  | { readonly kind: "piece"; readonly size: number; readonly signal: Firing }
  | {
      readonly kind: "send";
      readonly data: string | Buffer;
      readonly endOfMessage: boolean;
      readonly compress: boolean;
      readonly signal: Firing;
    }
  | { readonly kind: "prepared"; readonly data: string | Buffer }
  | { readonly kind: "close" | "closeOutput"; readonly status: number; readonly signal: Firing }
  | { readonly kind: "abort" }
  | { readonly kind: "drain"; readonly count: number };

interface Step {
  readonly operation: Operation;
  readonly end: "server" | "client";
  /** Turns of the event loop before the next step. */
  readonly turns: number;
}

const firing: fc.Arbitrary<Firing> = fc.constantFrom(
  undefined,
  undefined,
  undefined,
  undefined,
  "before",
  "at once",
  "later",
);
// ASCII even where it is bytes: a fragment may become part of text, which is not checked then.
const data = fc.oneof(
  texts(),
  payloads().map((bytes) => Buffer.from(bytes.map((byte) => byte & 0x7f))),
);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "receive" as const,
        "receive" as const,
        "next" as const,
        "empty" as const,
      ),
      signal: firing,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("piece" as const),
      size: fc.constantFrom(1, 7, 100, 4096, 70_000),
      signal: firing,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("drain" as const), count: fc.nat(6) }) },
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      data,
      endOfMessage: fc.constantFrom(true, true, false),
      compress: fc.boolean(),
      signal: firing,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("prepared" as const), data }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ping" as const), signal: firing }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("close" as const, "closeOutput" as const),
      status: fc.constantFrom(1000, 1001, 1005, 4000),
      signal: firing,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const) }) },
);

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    operation,
    end: fc.constantFrom("server" as const, "client" as const),
    turns: fc.constantFrom(0, 0, 0, 1, 1, 3),
  }),
  { minLength: 1, maxLength: 40 },
);

const agreement: fc.Arbitrary<DeflateAgreement | undefined> = fc.option(
  fc.record({
    serverNoContextTakeover: fc.boolean(),
    clientNoContextTakeover: fc.boolean(),
    serverMaxWindowBits: fc.constantFrom(9, 15),
    clientMaxWindowBits: fc.constantFrom(9, 15),
  }),
  { nil: undefined },
);

const settings = fc.record({
  receiveWindow: fc.constantFrom(1, 1000, 65_536),
  sendWindow: fc.constantFrom(1, 65_536),
  maxSendBuffer: fc.constantFrom(1000, 1 << 20),
});

/** What one call sent or received. */
interface Piece {
  readonly type: string;
  readonly bytes: Buffer;
  readonly endOfMessage: boolean;
}

/** Bytes that nobody can know: a string for the rest of a text that was cut within a character. */
const unknown = Buffer.from("\ufffd");

interface Sent extends Piece {
  error?: unknown;
}

/** A message, or as much of it as there is. */
interface Part {
  readonly type: string;
  readonly bytes: Buffer;
  readonly isComplete: boolean;
}

const timeLimit = 10_000;

/** One end: starts operations, and keeps what they gave. */
class End {
  readonly socket: WebSocketConnection;
  readonly #pending: Promise<void>[] = [];
  readonly #sent: Sent[] = [];
  readonly #received: Piece[] = [];

  constructor(socket: WebSocketConnection) {
    this.socket = socket;
  }

  start(operation: Operation): void {
    const { socket } = this;
    switch (operation.kind) {
      case "receive":
        this.#receive(socket.receive(this.#options(operation.signal)));
        break;
      case "next":
        this.#keep(
          socket[Symbol.asyncIterator]()
            .next()
            .then(({ value }) => this.#onMessage(value)),
        );
        break;
      case "empty":
        this.#receivePiece(new Uint8Array(0), operation.signal);
        break;
      case "piece":
        this.#receivePiece(new Uint8Array(operation.size), operation.signal);
        break;
      case "drain":
        this.#keep(this.#drain(operation.count));
        break;
      case "send": {
        const { data, signal, ...options } = operation;
        if (signal !== "before") {
          this.#send(data, socket.send(data, { ...options, ...this.#options(signal) }), options);
        } else {
          this.#keep(socket.send(data, { ...options, ...this.#options(signal) }));
        }
        break;
      }
      case "prepared": {
        const { data } = operation;
        this.#send(data, socket.send(prepareMessage(data)), { endOfMessage: true });
        break;
      }
      case "ping":
        this.#keep(socket.ping(this.#options(operation.signal)));
        break;
      case "close":
        this.#keep(socket.close(operation.status, "", this.#options(operation.signal)));
        break;
      case "closeOutput":
        this.#keep(socket.closeOutput(operation.status));
        break;
      case "abort":
        socket.abort();
    }
  }

  /** Resolves when everything that was started is settled. @throws Error for an error of no documented kind. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /** What this end sent, as far as it was not refused. */
  get sent(): Part[] {
    return joined(
      this.#sent.filter(
        ({ error }) =>
          !(error instanceof SendBufferFullError) && !(error instanceof InvalidStateError),
      ),
    );
  }

  get received(): Part[] {
    return joined(this.#received);
  }

  #options(signal: Firing): { signal?: AbortSignal } {
    if (signal === undefined) return {};
    const controller = new AbortController();
    if (signal === "before") controller.abort();
    if (signal === "at once") process.nextTick(() => controller.abort());
    if (signal === "later") setTimeout(() => controller.abort(), 2);
    return { signal: controller.signal };
  }

  #send(
    data: string | Buffer,
    promise: Promise<void>,
    { endOfMessage }: { endOfMessage: boolean },
  ): void {
    const type = typeof data === "string" ? "text" : "binary";
    const record: Sent = { type, bytes: Buffer.from(data), endOfMessage };
    this.#sent.push(record);
    this.#keep(
      promise.catch((error: unknown) => {
        record.error = error;
        throw error;
      }),
    );
  }

  #receive(promise: Promise<Message | CloseMessage>): void {
    this.#keep(
      promise.then((message) => this.#onMessage(message.type === "close" ? undefined : message)),
    );
  }

  #onMessage(message: Message | undefined): void {
    if (message === undefined) return;
    const { type, data } = message;
    this.#received.push({ type, bytes: Buffer.from(data), endOfMessage: true });
  }

  #receivePiece(buffer: Uint8Array, signal: Firing): void {
    const received = this.socket.receive(buffer, this.#options(signal));
    this.#keep(
      received.then(({ count, type, endOfMessage }) => {
        if (type === "close") return;
        this.#received.push({ type, bytes: Buffer.from(buffer.subarray(0, count)), endOfMessage });
      }),
    );
  }

  async #drain(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const message = await this.socket.receive();
      if (message.type === "close") return;
      this.#onMessage(message);
    }
  }

  #keep(promise: Promise<unknown>): void {
    this.#pending.push(
      promise.then(
        () => {},
        (error: unknown) => {
          const isOfSignal = error instanceof DOMException && error.name === "AbortError";
          // Both ends are ours: neither finds anything wrong with the other.
          const isExpected =
            error instanceof ConnectionClosedError ||
            error instanceof InvalidStateError ||
            error instanceof SendBufferFullError;
          if (isOfSignal || (isExpected && isDocumented(error))) return;
          throw error instanceof HalyardError
            ? new Error(`${error.name} ${error.code}: ${error.message}`, { cause: error })
            : error;
        },
      ),
    );
    // Looked at in the end; until then nobody may call it unhandled.
    this.#pending.at(-1)?.catch(() => {});
  }
}

function joined(pieces: readonly Piece[]): Part[] {
  const parts: Part[] = [];
  let type: string | undefined;
  let open: Buffer[] = [];
  for (const piece of pieces) {
    // The first fragment says of which type the message is.
    type ??= piece.type;
    open.push(piece.bytes);
    if (!piece.endOfMessage) continue;
    parts.push({ type, bytes: Buffer.concat(open), isComplete: true });
    open = [];
    type = undefined;
  }
  if (type !== undefined) parts.push({ type, bytes: Buffer.concat(open), isComplete: false });
  return parts;
}

function describe({ bytes, isComplete }: Part): string {
  return `<${bytes.toString("hex", 0, 20)}> (${bytes.length} bytes${isComplete ? "" : ", not ended"})`;
}

/** What came is the beginning of what was sent: in its order, with nothing missing in between. */
function checkDelivery(sent: readonly Part[], received: readonly Part[]): void {
  for (const [index, part] of received.entries()) {
    const wanted = sent[index];
    assert.ok(wanted, `message ${index} was never sent`);
    assert.equal(part.type, wanted.type, `type of message ${index}`);
    if (part.type === "text" && part.bytes.includes(unknown)) continue;
    const bytes = part.isComplete ? wanted.bytes : wanted.bytes.subarray(0, part.bytes.length);
    assert.ok(
      part.bytes.equals(bytes),
      `message ${index} has other bytes than were sent: ${describe(part)}, not ${describe(wanted)}`,
    );
    assert.ok(wanted.isComplete || !part.isComplete, `message ${index} was not ended`);
  }
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${timeLimit} ms`)), timeLimit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Whatever is called on both ends of a socket, in whatever order and without waiting: every promise
 * settles, with a documented error at worst; messages arrive in order and unharmed; no memory stays
 * behind; nothing is thrown where nobody can catch it.
 */
export const socketsProperty = fc.asyncProperty(
  steps,
  agreement,
  settings,
  async (list, deflate, limits) => {
    const memoryBudget = new MemoryBudget(1 << 30);
    const { left, right } = await tcpPair();
    const make = (socket: typeof left, role: "server" | "client") => {
      const options: SocketOptions = {
        ...limits,
        memoryBudget,
        logger: quietLogger,
        closeTimeout: 300,
        compression: deflate !== undefined && { threshold: 20 },
      };
      return new End(
        new WebSocketConnection(socket, {
          role,
          subprotocol: undefined,
          deflate,
          options: resolveSocketOptions(options),
          head: Buffer.alloc(0),
        }),
      );
    };
    const ends = { server: make(left, "server"), client: make(right, "client") };
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    try {
      for (const { operation, end, turns } of list) {
        ends[end].start(operation);
        for (let turn = 0; turn < turns; turn++) await nextTurn();
      }
      const sockets = [ends.server.socket, ends.client.socket];
      await within(Promise.all(sockets.map((socket) => socket.close())), "close()");
      await within(Promise.all([ends.server.settled(), ends.client.settled()]), "operations");
      await within(Promise.all(sockets.map((socket) => socket.whenGone())), "the end of TCP");
      for (const socket of sockets) {
        assert.match(socket.state, /^(closed|aborted)$/);
      }
      checkDelivery(ends.server.sent, ends.client.received);
      checkDelivery(ends.client.sent, ends.server.received);
      await nextTurn();
      assert.equal(memoryBudget.used, 0, "memory budget");
      assert.deepEqual(unhandled, [], "unhandled rejections");
    } finally {
      process.off("unhandledRejection", onUnhandled);
      left.destroy();
      right.destroy();
    }
  },
) as fc.IAsyncProperty<unknown>;

import type { Duplex } from "node:stream";
import { Deferred, quiet, rejected } from "../deferred.js";
import {
  type CloseInfo,
  ConnectionClosedError,
  type HalyardError,
  InvalidStateError,
  OverloadError,
  type ViolationError,
} from "../errors.js";
import { log } from "../logger.js";
import { CloseCode, encodeClose } from "../protocol/close.js";
import type { DeflateAgreement } from "../protocol/deflate-offer.js";
import type { Role } from "../protocol/frame.js";
import { type MessageType, Protocol, type ProtocolEvents } from "../protocol/protocol.js";
import { MessageDeflate } from "./deflate.js";
import { IncomingDeflate } from "./incoming-deflate.js";
import { KeepAlive, type KeepAliveHooks } from "./keep-alive.js";
import {
  type CloseMessage,
  type Ending,
  type Message,
  MessageQueue,
  type MessageQueueOwner,
  type ReceiveResult,
} from "./message-queue.js";
import { messagesAsStreams } from "./message-streams.js";
import type { ResolvedSocketOptions } from "./options.js";
import { type OutgoingData, OutgoingDeflate, sendPlain } from "./outgoing-deflate.js";
import { type Flushable, flushBeforeInput, flushNow, flushSoon } from "./output.js";
import { PreparedMessage } from "./prepared-message.js";
import { type ByteSink, PushedInput } from "./pushed-input.js";
import { SendQueue, type SendQueueOwner } from "./send-queue.js";
import { readFrom } from "./socket-reader.js";

/**
 * Where a connection stands; the names are those of ASP.NET's `WebSocketState`. `accept()` and
 * `connect()` give sockets that are open, so that `"connecting"` is never seen on one.
 */
export type WebSocketState =
  | "connecting"
  | "open"
  | "closeSent"
  | "closeReceived"
  | "closed"
  | "aborted";

/** What can be sent: a string is text, bytes are binary; or what `prepareMessage` made. */
export type SendData = string | Uint8Array | ArrayBuffer | DataView | PreparedMessage;

export interface SendOptions {
  /** Whether the message ends with this frame. Default true. */
  readonly endOfMessage?: boolean;
  /**
   * What bytes are sent as; `"text"` is for UTF-8 that was received as such, and is not checked.
   * Default `"binary"`. A string is always text.
   */
  readonly type?: MessageType;
  /**
   * `false` sends the message as it is though compression was agreed on. Counts in a message's
   * first fragment. Default true.
   */
  readonly compress?: boolean;
  /** Ends the waiting, not the sending: what was handed over leaves in any case. */
  readonly signal?: AbortSignal;
}

export interface ReceiveOptions {
  /** Gives up the receive. The socket stays as it is and the next receive misses no byte. */
  readonly signal?: AbortSignal;
}

export interface CloseOptions {
  /** Aborts the connection instead of waiting longer for the peer. */
  readonly signal?: AbortSignal;
  /** Time the peer has to answer, in milliseconds. Default: the option `closeTimeout`. */
  readonly timeout?: number;
}

/** What whoever creates a connection decides. */
export interface ConnectionSetup {
  readonly role: Role;
  readonly subprotocol: string | undefined;
  /** What was agreed on for permessage-deflate, if anything was. */
  readonly deflate?: DeflateAgreement | undefined;
  readonly options: ResolvedSocketOptions;
  /** The head of the response that accepts, if nobody has written it yet. */
  readonly answer?: Buffer | undefined;
  /** Bytes that came with the handshake and belong to the first frame. */
  readonly head: Buffer;
}

/** The connection that a transport belongs to. */
const owner = Symbol("halyard.connection");

type OwnedSocket = Duplex & { [owner]: WebSocketConnection };

/** Time a client gives the server to end TCP first, in milliseconds. */
const serverEndTimeout = 1_000;
/** Output beyond this is written within the turn, so that a long turn does not pile it up. */
const flushFrom = 64 * 1024;

/**
 * A WebSocket: whole messages by `for await` and {@link receive}, or piece by piece.
 *
 * @example
 * for await (const message of socket) await socket.send(message.data);
 *
 * @see RFC 6455
 */
export class WebSocketConnection implements AsyncDisposable, AsyncIterable<Message> {
  /** The subprotocol agreed on, or `undefined`. */
  readonly subprotocol: string | undefined;
  /** The option of that name: a good size for the buffer of a piecewise receive, in bytes. */
  readonly receiveBufferSize: number;

  readonly #socket: Duplex;
  readonly #role: Role;
  readonly #options: ResolvedSocketOptions;
  readonly #protocol: Protocol;
  readonly #queue: MessageQueue;
  readonly #sends: SendQueue;
  readonly #keepAlive: KeepAlive;
  /** The two sides of compression, where it was agreed on. */
  readonly #deflate: MessageDeflate | undefined;
  readonly #incoming: IncomingDeflate | undefined;
  readonly #outgoing: OutgoingDeflate | undefined;
  readonly #flushable: Flushable;

  /** How it ended; `undefined` while it lives. */
  #ended: "closed" | "aborted" | undefined;
  /** Why it ended, unless by a closing handshake. */
  #failure: HalyardError | undefined;
  #receivedCloseFirst = false;
  #isFlushScheduled = false;
  /** Input that was read and not parsed yet, because the queue is full or the sink is paused. */
  #unparsed: Buffer | undefined;
  /** Present once {@link consume} was called; then the queue holds only what came before. */
  #pushed: PushedInput | undefined;
  #isHandingOver = false;
  /** Output had to wait, or was refused, and the end of that was not seen yet. */
  #owesDrained = false;
  /** What is counted against the memory budget for this connection. */
  #charged = 0;
  /** A message is being inflated, and what came behind it waits. */
  #isInflating = false;
  /** A Close waits for messages that are being compressed, and nothing may be sent behind it. */
  #isClosing = false;
  /** Input means nothing to anybody any more. */
  #isDiscarding = false;
  /** Bounds the closing handshake, and the end of TCP after it. */
  #closeTimer: NodeJS.Timeout | undefined;
  #whenEnded: Deferred<void> | undefined;
  #whenGone: Deferred<void> | undefined;
  /** The connections of the same server. */
  #peers: Set<WebSocketConnection> | undefined;
  #streams: ReturnType<typeof messagesAsStreams> | undefined;

  /**
   * @internal Use `accept()` or `connect()`.
   * @param socket - The transport after the handshake; from now on this connection's alone.
   */
  constructor(
    socket: Duplex,
    { role, subprotocol, deflate, options, answer, head }: ConnectionSetup,
  ) {
    this.#socket = socket;
    this.#role = role;
    this.#options = options;
    this.subprotocol = subprotocol;
    this.receiveBufferSize = options.receiveBufferSize;

    const link = new WebSocketConnection.#Link(this);
    const { compression, maxMessageSize } = options;
    const allowsCompression = deflate !== undefined && compression !== false;
    this.#protocol = new Protocol(link, { role, maxMessageSize, allowsCompression });
    if (allowsCompression) {
      this.#deflate = new MessageDeflate(role, deflate, compression, maxMessageSize);
      this.#incoming = new IncomingDeflate(this.#deflate);
      this.#outgoing = new OutgoingDeflate(this.#protocol, this.#deflate, compression.threshold);
    }
    this.#queue = new MessageQueue(link, options.receiveWindow);
    this.#sends = new SendQueue(socket, options.sendWindow, options.maxSendBuffer, link);
    this.#keepAlive = new KeepAlive(options, link);
    this.#flushable = link;

    if (answer !== undefined) this.#sends.write(answer);
    readFrom(socket, (chunk, end) => this.#onChunk(chunk, end));
    (socket as OwnedSocket)[owner] = this;
    const { end, error, close } = WebSocketConnection.#socketListeners;
    socket.on("end", end).on("error", error).on("close", close);
    if (head.length > 0) this.#onChunk(head, head.length);
    // A peer that left before has said so to nobody who listened.
    if (socket.readableEnded || socket.destroyed) process.nextTick(() => this.#onLost(undefined));
  }

  /** Listeners that all sockets share: of its own, every idle one would have three. */
  static readonly #socketListeners = {
    end(this: OwnedSocket): void {
      this[owner].#onLost(undefined);
    },
    error(this: OwnedSocket, error: Error): void {
      this[owner].#onLost(error);
    },
    close(this: OwnedSocket): void {
      this[owner].#onGone();
    },
  };

  /**
   * What the parts of a connection see of it: one small object instead of a closure for each of
   * their calls, of which every idle socket would own a dozen.
   */
  static readonly #Link = class
    implements ProtocolEvents, MessageQueueOwner, SendQueueOwner, KeepAliveHooks, Flushable
  {
    readonly #connection: WebSocketConnection;

    constructor(connection: WebSocketConnection) {
      this.#connection = connection;
    }

    onData(
      type: MessageType,
      chunk: Buffer,
      start: number,
      end: number,
      endsFrame: boolean,
      endsMessage: boolean,
    ): void {
      this.#connection.#onData(type, chunk, start, end, endsFrame, endsMessage);
    }

    onPong(payload: Buffer): void {
      this.#connection.#keepAlive.onPong(payload);
    }

    onClose(close: CloseInfo): void {
      this.#connection.#onClose(close);
    }

    onViolation(error: ViolationError): void {
      this.#connection.#onViolation(error);
    }

    onWanted(): void {
      this.#connection.#resume();
    }

    onEndReached(ending: Ending, byIteration: boolean): void {
      this.#connection.#onEndReached(ending, byIteration);
    }

    onDrained(): void {
      this.#connection.#onDrained();
    }

    phase(): "open" | "paused" | "closing" {
      const protocol = this.#connection.#protocol;
      if (protocol.closeSent !== undefined) return "closing";
      return protocol.isSuspended ? "paused" : "open";
    }

    sendPing(payload: Uint8Array): void {
      this.#connection.#sendControl("sendPing", payload);
    }

    sendPong(payload: Uint8Array): void {
      this.#connection.#sendControl("sendPong", payload);
    }

    onTimeout(): void {
      this.#connection.#onKeepAliveTimeout();
    }

    onExpiry(reason: string): void {
      void this.#connection.close(CloseCode.goingAway, reason);
    }

    flush(): boolean {
      return this.#connection.#flush();
    }
  };

  // --- state ---

  get state(): WebSocketState {
    if (this.#ended !== undefined) return this.#ended;
    const { closeSent, closeReceived } = this.#protocol;
    if (closeSent !== undefined) return closeReceived === undefined ? "closeSent" : "closed";
    return closeReceived === undefined ? "open" : "closeReceived";
  }

  /** The code of the peer's Close frame, 1005 if it had none; `undefined` until the frame came. */
  get closeStatus(): number | undefined {
    return this.#protocol.closeReceived?.status;
  }

  /** The reason in the peer's Close frame, or `""`; `undefined` until the frame came. */
  get closeStatusDescription(): string | undefined {
    return this.#protocol.closeReceived?.description;
  }

  /** Bytes sent that wait for the peer to take them. */
  get bufferedAmount(): number {
    return this.#sends.held + this.#pending;
  }

  /** Resolves when the connection has ended, in whatever way: `state` tells which. Never rejects. */
  get closed(): Promise<void> {
    if (this.#ended !== undefined) return Promise.resolve();
    this.#whenEnded ??= new Deferred<void>();
    return this.#whenEnded.promise;
  }

  /**
   * @internal Whether `error` is what this connection's own end throws at everybody who uses it, rather
   * than a mistake of the application.
   */
  isOwnFailure(error: unknown): boolean {
    return error !== undefined && error === this.#failure;
  }

  // --- receiving ---

  /**
   * The next whole message, or `{ type: "close" }` with the peer's status and description.
   *
   * A Close that is received this way is answered by {@link close}; without that, after
   * `closeTimeout` or when the handler returns, with the peer's own status.
   * @throws ConnectionClosedError when the connection was lost, aborted or timed out;
   *   ProtocolError or MessageTooBigError when the peer broke a rule, after everything before it
   *   was received; InvalidStateError `ERR_RECEIVE_PENDING` when another receive waits;
   *   the signal's reason when it fires.
   */
  receive(options?: ReceiveOptions): Promise<Message | CloseMessage>;
  /**
   * Fills `buffer` with the next bytes of the current message, of one frame at most; waits until
   * the buffer is full or the frame ends. Loops must look at `endOfMessage`, not at `count`.
   *
   * An empty buffer waits until there is something to receive and consumes none of it.
   * @param buffer - Is the receive's own until the promise is settled.
   * @throws As `receive()` does.
   */
  receive(buffer: Uint8Array, options?: ReceiveOptions): Promise<ReceiveResult>;
  receive(
    first?: Uint8Array | ReceiveOptions,
    second?: ReceiveOptions,
  ): Promise<Message | CloseMessage | ReceiveResult> {
    return first instanceof Uint8Array
      ? this.#queue.receivePiece(first, second?.signal)
      : this.#queue.receiveMessage(first?.signal);
  }

  /**
   * Whole messages until the peer's Close, which is then answered with the same status.
   *
   * Leaving the loop early leaves the socket open.
   * @throws As {@link receive} does: a loop that ends without an error saw everything there was.
   */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return { next: () => this.#queue.next() };
  }

  // --- sending ---

  /**
   * Sends a message, or with `endOfMessage: false` a fragment of one.
   *
   * Resolves when no more than `sendWindow` bytes wait for the peer (so that to await it is to
   * keep the peer's pace), and when `data` may be changed again. Messages leave in the order of the
   * calls, whether awaited or not.
   * @throws ConnectionClosedError when the connection has ended; InvalidStateError after our own
   *   Close; SendBufferFullError when more than `maxSendBuffer` waits, nothing being sent;
   *   the signal's reason when it fires.
   */
  send(data: SendData, options?: SendOptions): Promise<void> {
    const signal = options?.signal;
    if (signal?.aborted) return rejected(signal.reason);
    if (!this.#maySend) return rejected(this.#closedError("send"));
    const full = this.#sends.refusal(this.#pending, this.#options.memoryBudget);
    if (full !== undefined) return rejected(full);
    this.#keepAlive.noteMessage();
    const endsMessage = options?.endOfMessage ?? true;
    try {
      // The usual data first: each look at its class costs as much as all that was asked before.
      const outgoing =
        typeof data === "string" || data instanceof Uint8Array ? data : asOutgoing(data);
      const type = typeOf(outgoing, options?.type);
      if (this.#outgoing === undefined) {
        const isHandedOver = sendPlain(this.#protocol, type, outgoing, endsMessage);
        return this.#afterSend(isHandedOver, signal);
      }
      const sent = this.#outgoing.send(type, outgoing, endsMessage, options?.compress ?? true);
      return sent instanceof Promise
        ? quiet(sent.then((isHandedOver) => this.#afterSend(isHandedOver, signal)))
        : this.#afterSend(sent, signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /**
   * Sends a PING and waits for its PONG.
   *
   * @returns The round-trip time in milliseconds.
   * @throws ConnectionClosedError when the connection ends first; InvalidStateError
   *   `ERR_PINGS_PENDING` when too many are unanswered; the signal's reason when it fires.
   */
  ping({ signal }: { signal?: AbortSignal } = {}): Promise<number> {
    if (signal?.aborted) return rejected(signal.reason);
    if (!this.#maySend) return rejected(this.#closedError("ping"));
    return this.#keepAlive.ping(signal);
  }

  // --- closing ---

  /**
   * Closes the connection: sends Close, drops what is unread, waits for the peer's Close.
   *
   * Resolves when both were exchanged, or when `timeout` is over and the connection was aborted:
   * `state` tells which. To close what has ended already does nothing.
   * @param status - 1000 (default) to 1003, 1007 to 1014, 3000 to 4999; 1005 for an empty Close.
   * @param description - At most 123 bytes of UTF-8.
   * @throws RangeError for another status or a longer description, nothing being sent.
   * @see RFC 6455 §7.1.2
   */
  close(
    status: number = CloseCode.normalClosure,
    description = "",
    options: CloseOptions = {},
  ): Promise<void> {
    try {
      encodeClose(status, description);
    } catch (error) {
      return rejected(error);
    }
    if (this.#ended === undefined && this.#failure !== undefined) {
      this.#answerViolation(this.#failure as ViolationError);
    }
    if (this.#ended !== undefined) return Promise.resolve();
    if (this.#outgoing?.isIdle === false) {
      this.#isClosing = true;
      return this.#outgoing.whenIdle().then(() => this.close(status, description, options));
    }
    const { signal, timeout = this.#options.closeTimeout } = options;
    this.#protocol.sendClose(status, description);
    this.#startDiscarding();
    this.#afterCloseSent();
    // The call above ends the connection if the peer's Close is there already.
    if (this.#ended === undefined) this.#limitClosing(timeout);
    const promise = this.closed;
    if (signal === undefined) return promise;
    const abort = () => {
      reason.reject(signal.reason);
      this.abort();
    };
    const reason = new Deferred<void>();
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    const forget = () => signal.removeEventListener("abort", abort);
    promise.then(forget, forget);
    return Promise.race([promise, reason.promise]);
  }

  /**
   * Sends Close and returns without waiting for the peer's, so that what it still sends can be
   * received.
   *
   * @throws RangeError as {@link close} does; ConnectionClosedError when the connection has ended.
   */
  closeOutput(status: number = CloseCode.normalClosure, description = ""): Promise<void> {
    if (!this.#maySend) return rejected(this.#closedError("close"));
    try {
      encodeClose(status, description);
    } catch (error) {
      return rejected(error);
    }
    if (this.#outgoing?.isIdle === false) {
      this.#isClosing = true;
      const close = () => {
        this.#isClosing = false;
        return this.closeOutput(status, description);
      };
      return quiet(this.#outgoing.whenIdle().then(close));
    }
    this.#protocol.sendClose(status, description);
    this.#afterCloseSent();
    return this.#sends.whenReady(this.#protocol.outputSize, false, undefined);
  }

  /** Ends the connection at once, without a closing handshake; the peer sees 1006. */
  abort(): void {
    if (this.#ended === undefined) {
      this.#queue.discard();
      this.#fail("ERR_ABORTED", "The connection was aborted here.");
    }
    this.#socket.destroy();
  }

  /** Closes with 1000, within `closeTimeout`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // --- web streams ---

  /** The incoming messages as a web stream: strings and bytes. Errors as {@link receive} throws. */
  get readable(): ReadableStream<string | Uint8Array> {
    this.#streams ??= messagesAsStreams(this);
    return this.#streams.readable;
  }

  /** A web stream whose chunks are sent as messages; to close it closes the socket with 1000. */
  get writable(): WritableStream<SendData> {
    this.#streams ??= messagesAsStreams(this);
    return this.#streams.writable;
  }

  // --- for the engine ---

  /**
   * @internal What happens when the handler that accepted this socket is done: 1000, or 1011 when it
   * threw, or the peer's own status when that was first. Resolves when the connection has ended.
   */
  endHandler(error?: unknown): Promise<void> {
    if (this.#ended !== undefined) return Promise.resolve();
    if (error !== undefined && !this.isOwnFailure(error)) {
      return this.close(CloseCode.internalError);
    }
    const received = this.#protocol.closeReceived;
    if (received !== undefined) return this.close(received.status, received.description);
    return this.close();
  }

  /** @internal Is one of `connections` as long as its transport is there. */
  joinUntilGone(connections: Set<WebSocketConnection>): void {
    if (this.#socket.closed) return;
    connections.add(this);
    this.#peers = connections;
  }

  /** @internal Resolves when the transport is gone too. */
  whenGone(): Promise<void> {
    if (this.#socket.closed) return Promise.resolve();
    this.#whenGone ??= new Deferred<void>();
    return this.#whenGone.promise;
  }

  // --- for layers above that read and write bytes ---

  /**
   * @internal Hands everything that is received to `sink` from now on, by direct calls, first what
   * is unread. `receive` and the loop are of no use any more; sending and closing stay as they are.
   *
   * Keep-alive, limits and closing times are those of a connection that is read at once, and while
   * {@link pauseInput} holds, of one whose queue is full. What a paused sink has not been given is
   * dropped when the connection is lost.
   * @throws InvalidStateError `ERR_RECEIVE_PENDING` when a receive waits or there is a sink already.
   */
  consume(sink: ByteSink): void {
    this.#queue.refuseReceives();
    this.#pushed = new PushedInput(sink, (error) => this.#onSinkError(error));
    this.#handOver();
  }

  /** @internal Stops what `sink` is given, after the present call, and then reading. */
  pauseInput(): void {
    if (this.#pushed === undefined) return;
    this.#pushed.isPaused = true;
    if (!this.#isDiscarding) this.#pause();
  }

  /** @internal Goes on after {@link pauseInput}, first with what was read meanwhile. */
  resumeInput(): void {
    if (this.#pushed === undefined) return;
    this.#pushed.isPaused = false;
    this.#handOver();
  }

  /**
   * @internal Sends a whole message without a promise.
   *
   * @param data - Bytes below 32 KiB are copied before this returns. More may be held until they are
   *   written, and must not be changed before {@link bufferedAmount} is 0.
   * @param type - What bytes are sent as; a string is text, a prepared message what it was made of.
   * @returns `false` when it was refused because the connection cannot send any more or more than
   *   `maxSendBuffer` waits; in the latter case `onDrained` of the sink follows.
   */
  post(data: string | Uint8Array | PreparedMessage, type: MessageType = "binary"): boolean {
    if (!this.#hasRoomToPost()) return false;
    this.#keepAlive.noteMessage();
    if (this.#outgoing === undefined) {
      sendPlain(this.#protocol, typeOf(data, type), data, true);
      this.#scheduleFlush();
    } else {
      this.#postCompressed(this.#outgoing, data, typeOf(data, type));
    }
    return true;
  }

  /**
   * @internal Sends `buffer[start..end)` as a whole message, copied before this returns.
   *
   * @returns As {@link post} does.
   */
  postBytes(buffer: Uint8Array, start: number, end: number, type: MessageType): boolean {
    if (!this.#hasRoomToPost()) return false;
    this.#keepAlive.noteMessage();
    if (this.#outgoing === undefined || this.#outgoing.passes(end - start)) {
      this.#protocol.sendRange(type, buffer, start, end);
      this.#scheduleFlush();
    } else {
      this.#postCompressed(this.#outgoing, Buffer.copyBytesFrom(buffer, start, end - start), type);
    }
    return true;
  }

  #postCompressed(
    outgoing: OutgoingDeflate,
    data: string | Uint8Array | PreparedMessage,
    type: MessageType,
  ): void {
    const sent = outgoing.send(type, data, true, true);
    if (!(sent instanceof Promise)) {
      this.#scheduleFlush();
      return;
    }
    // It fails only where the connection was closed meanwhile, which the sink is told of.
    const flush = () => this.#scheduleFlush();
    sent.then(flush, flush);
  }

  #hasRoomToPost(): boolean {
    if (!this.#maySend) return false;
    const { memoryBudget } = this.#options;
    if (!this.#sends.isFull(this.#pending, memoryBudget)) return true;
    // What is full of this turn's own output may have room once that is written.
    flushNow(this.#flushable);
    if (!this.#sends.isFull(this.#pending, memoryBudget)) return true;
    this.#owesDrained = true;
    return false;
  }

  /** Gives the sink what the queue holds, then how that ended, or else goes on reading. */
  #handOver(): void {
    const pushed = this.#pushed;
    // A sink that resumes within a call is given the rest when that call is over.
    if (pushed === undefined || this.#isHandingOver) return;
    this.#isHandingOver = true;
    while (!pushed.isPaused && this.#queue.handTo(pushed));
    this.#isHandingOver = false;
    if (pushed.isPaused) return;
    const { ending } = this.#queue;
    if (ending === undefined) this.#resume();
    else if ("close" in ending) pushed.end(ending.close, undefined);
    else if (this.#ended === undefined) this.#answerViolation(ending.error as ViolationError);
    else pushed.end(undefined, ending.error as HalyardError);
  }

  #onSinkError(error: unknown): void {
    log(this.#options.logger, "error", "what takes a socket's messages threw", { error });
    if (this.#ended !== undefined) return;
    this.#queue.discard();
    this.#protocol.sendClose(CloseCode.internalError, "");
    this.#fail("ERR_ABORTED", "What takes the messages here threw an error.");
  }

  /** Ends what is received, behind whatever is unread. Only the first ending counts. */
  #endInput(ending: Ending): void {
    if (this.#pushed === undefined) this.#queue.end(ending);
    else if ("close" in ending) this.#pushed.end(ending.close, undefined);
    else {
      this.#queue.discard();
      this.#pushed.end(undefined, ending.error as HalyardError);
    }
  }

  // --- in: transport to queue ---

  #onChunk(chunk: Buffer, end: number): void {
    if (this.#ended !== undefined) return;
    flushBeforeInput();
    this.#keepAlive.noteInput();
    if (this.#unparsed === undefined) this.#parse(chunk, end, false);
    else this.#parseKept(Buffer.concat([this.#unparsed, chunk.subarray(0, end)]));
  }

  /** Parses what was read before. */
  #parseKept(bytes: Buffer): void {
    // A sink may come back here from within.
    this.#unparsed = undefined;
    this.#parse(bytes, bytes.length, true);
  }

  /** @param isKept - Whether the chunk's memory is ours; if not, it is used for the next read. */
  #parse(chunk: Buffer, end: number, isKept: boolean): void {
    const used = this.#protocol.receive(chunk, end);
    this.#queue.keep();
    if (used < end && this.#protocol.isReading && this.#ended === undefined) {
      this.#unparsed = isKept
        ? chunk.subarray(used, end)
        : Buffer.copyBytesFrom(chunk, used, end - used);
    }
    if (this.#protocol.outputSize > 0 || this.#queue.isSharing) this.#scheduleFlush();
    const { memoryBudget } = this.#options;
    if (this.#account() > 0 && memoryBudget.used > memoryBudget.limit) {
      this.#queue.discard();
      this.#account();
      this.#onViolation(new OverloadError(memoryBudget.limit));
    }
  }

  #onData(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    endsFrame: boolean,
    endsMessage: boolean,
  ): void {
    if (this.#isDiscarding) return;
    if (endsMessage) this.#keepAlive.noteMessage();
    if (this.#protocol.isCompressed) this.#onCompressed(type, chunk, start, end, endsMessage);
    else if (this.#pushed !== undefined) this.#pushed.push(chunk, start, end, endsMessage);
    else {
      const { remainingInFrame, isAscii } = this.#protocol;
      this.#queue.push(type, chunk, start, end, remainingInFrame, isAscii, endsFrame, endsMessage);
    }
    if (this.#pushed !== undefined) return;
    if (this.#queue.isFull(this.#incoming?.size ?? 0)) this.#pause();
  }

  #onCompressed(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    endsMessage: boolean,
  ): void {
    const announced = this.#protocol.remainingInFrame;
    const message = this.#incoming?.add(type, chunk, start, end, announced, endsMessage);
    if (message === undefined) return;
    if (!(message instanceof Promise)) {
      this.#pushInflated(type, message);
      return;
    }
    // Nothing is parsed until the message is there, so that everything keeps its order.
    this.#isInflating = true;
    this.#pause();
    const goOn = (handle: () => void) => {
      this.#isInflating = false;
      if (this.#ended !== undefined) return;
      if (!this.#isDiscarding) handle();
      if (this.#pushed === undefined) this.#resume();
      else this.#handOver();
    };
    const fail = (error: ViolationError) => {
      this.#protocol.stopReading();
      this.#onViolation(error);
    };
    message.then(
      (bytes) => goOn(() => this.#pushInflated(type, bytes)),
      (error) => goOn(() => fail(error)),
    );
  }

  /** @param bytes - A whole message, in memory that the next one may use. */
  #pushInflated(type: MessageType, bytes: Buffer): void {
    if (this.#pushed?.isPaused === false) {
      // What the sink does may inflate the next message, or one of another connection.
      this.#pushed.push(Buffer.from(bytes), 0, bytes.length, true);
      return;
    }
    const isAscii = this.#incoming?.isAscii ?? false;
    this.#queue.keep();
    this.#queue.push(type, bytes, 0, bytes.length, 0, isAscii, true, true);
    this.#queue.keep();
  }

  #pause(): void {
    this.#protocol.isSuspended = true;
    this.#socket.pause();
  }

  /** Goes on reading, first what was read already, when there is room again. */
  #resume(): void {
    if (!this.#protocol.isSuspended || this.#isInflating) return;
    if (!this.#isDiscarding && (this.#pushed?.isPaused ?? !this.#queue.hasRoom)) return;
    this.#protocol.isSuspended = false;
    this.#keepAlive.noteInput();
    if (this.#unparsed !== undefined) this.#parseKept(this.#unparsed);
    else this.#account();
    if (!this.#protocol.isSuspended) this.#socket.resume();
  }

  #startDiscarding(): void {
    this.#isDiscarding = true;
    this.#queue.discard();
    this.#resume();
    this.#account();
  }

  /**
   * Keeps the shared budget true: what counts is a message being gathered, what is unread while
   * reading is paused, and what the peer does not take.
   *
   * @returns By how much the count changed.
   */
  #account(): number {
    const unread = this.#protocol.isSuspended
      ? this.#queue.unread + (this.#unparsed?.length ?? 0)
      : 0;
    const gathered = this.#queue.gathered + (this.#incoming?.size ?? 0);
    const held = gathered + unread + this.#sends.held;
    const change = held - this.#charged;
    this.#charged = held;
    this.#options.memoryBudget.used += change;
    return change;
  }

  // --- out: protocol to transport ---

  get #maySend(): boolean {
    return this.#protocol.closeSent === undefined && this.#ended === undefined && !this.#isClosing;
  }

  /** Bytes that are sent and not yet given to the transport. */
  get #pending(): number {
    return this.#protocol.outputSize + (this.#outgoing?.bytes ?? 0);
  }

  #afterSend(isHandedOver: boolean, signal: AbortSignal | undefined): Promise<void> {
    this.#scheduleFlush();
    return this.#sends.whenReady(this.#protocol.outputSize, isHandedOver, signal);
  }

  #sendControl(verb: "sendPing" | "sendPong", payload: Uint8Array): void {
    if (!this.#maySend) return;
    this.#protocol[verb](payload);
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#protocol.outputSize >= flushFrom) {
      flushNow(this.#flushable);
    } else if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true;
      flushSoon(this.#flushable);
    }
  }

  #flush(): boolean {
    this.#isFlushScheduled = false;
    if (this.#queue.isSharing) this.#queue.own();
    const output = this.#protocol.takeOutput();
    if (output === undefined) return true;
    const isFree = this.#sends.write(output);
    if (this.#sends.isCongested) {
      this.#protocol.isCongested = true;
      this.#owesDrained = true;
      this.#account();
    } else if (this.#owesDrained) {
      // What follows may send, and must not while a flush is under way.
      process.nextTick(() => this.#onDrained());
    }
    return isFree;
  }

  /** Nothing waits for the peer any more, as far as it was written. */
  #onDrained(): void {
    if (!this.#owesDrained || this.#sends.isCongested) return;
    this.#protocol.isCongested = false;
    this.#account();
    this.#protocol.sendLatestPong();
    if (this.#protocol.outputSize > 0) this.#scheduleFlush();
    if (this.#outgoing?.isIdle === false) return;
    this.#owesDrained = false;
    this.#pushed?.drained();
  }

  // --- the end, in every way it can come ---

  /** The peer's Close came. The application answers when it has received what came before. */
  #onClose(close: CloseInfo): void {
    this.#receivedCloseFirst = this.#protocol.closeSent === undefined;
    if (!this.#receivedCloseFirst) {
      this.#endInput({ close });
      this.#end("closed");
      return;
    }
    this.#endInput({ close });
    // A loop that was waiting has answered by now.
    if (this.#ended === undefined) this.#limitClosing(this.#options.closeTimeout);
  }

  /** The peer broke a rule. The answer waits until the application received what came before. */
  #onViolation(error: ViolationError): void {
    if (this.#ended !== undefined) return;
    log(this.#options.logger, "warn", "a peer was cut off", {
      code: error.code,
      closeCode: error.closeCode,
      reason: error.message,
    });
    this.#failure = error;
    this.#limitClosing(this.#options.closeTimeout);
    if (this.#pushed !== undefined) this.#answerViolation(error);
    else {
      this.#queue.end({ error });
      if (this.#isDiscarding) this.#answerViolation(error);
    }
  }

  #onEndReached(ending: Ending, byIteration: boolean): void {
    if ("error" in ending) {
      if (this.#ended === undefined) this.#answerViolation(ending.error as ViolationError);
    } else if (byIteration && this.#protocol.closeSent === undefined) {
      void this.close(ending.close.status, ending.close.description);
    }
  }

  #answerViolation(error: ViolationError): void {
    this.#protocol.fail(error);
    this.#end("aborted");
  }

  #onKeepAliveTimeout(): void {
    this.#fail(
      "ERR_KEEP_ALIVE_TIMEOUT",
      `The peer did not answer a PING within ${this.#options.keepAliveTimeout} ms.`,
    );
    this.#socket.destroy();
  }

  /** TCP ended or failed. After a closing handshake that is as it should be. */
  #onLost(cause: Error | undefined): void {
    if (this.#ended === undefined && this.#failure === undefined) {
      if (this.#protocol.closeReceived !== undefined && cause === undefined) {
        // The peer said Close and ended its direction; ours is still open for the answer.
        return;
      }
      this.#fail(
        "ERR_CONNECTION_LOST",
        "The peer ended the connection without completing the closing handshake.",
        cause,
      );
    }
    if (this.#ended === "aborted" || cause !== undefined) this.#socket.destroy();
    else if (this.#ended === "closed" && !this.#socket.destroyed && !this.#socket.writableEnded) {
      this.#endTransport();
    }
  }

  /** Ends without a closing handshake, for a reason that everybody who waits gets to see. */
  #fail(code: string, message: string, cause?: Error): void {
    if (this.#ended !== undefined) return;
    this.#failure ??= this.#connectionClosed(code, message, cause);
    this.#end("aborted");
  }

  #afterCloseSent(): void {
    if (this.#protocol.closeReceived === undefined) this.#scheduleFlush();
    else this.#end("closed");
  }

  #limitClosing(timeout: number): void {
    clearTimeout(this.#closeTimer);
    this.#closeTimer = setTimeout(() => this.#onCloseTimeout(), timeout);
  }

  #onCloseTimeout(): void {
    const { closeReceived } = this.#protocol;
    if (this.#ended === "closed" && !this.#socket.writableEnded) {
      this.#endTransport();
    } else if (this.#ended !== undefined) {
      this.#socket.destroy();
    } else if (this.#failure !== undefined) {
      this.#answerViolation(this.#failure as ViolationError);
    } else if (closeReceived !== undefined) {
      void this.close(closeReceived.status, closeReceived.description);
    } else {
      this.#fail("ERR_CLOSE_TIMEOUT", "The peer did not answer our Close in time.");
      this.#socket.destroy();
    }
  }

  /**
   * The one way to the end: flushes, ends TCP in order if it still stands, bounds that by a timer,
   * and settles everybody who waits.
   */
  #end(how: "closed" | "aborted"): void {
    if (this.#ended !== undefined) return;
    this.#ended = how;
    flushNow(this.#flushable);
    if (this.#failure !== undefined) this.#endInput({ error: this.#failure });
    const failure = () => this.#closedError("be used");
    this.#keepAlive.end(failure);
    this.#sends.end(failure);
    this.#deflate?.end();
    this.#isDiscarding = true;
    this.#unparsed = undefined;
    this.#account();
    if (!this.#socket.destroyed) {
      this.#socket.resume();
      if (how === "closed" && this.#role === "client" && !this.#socket.readableEnded) {
        // RFC 6455 §7.1.1: the server ends TCP first, so that TIME_WAIT is its own.
        this.#limitClosing(Math.min(serverEndTimeout, this.#options.closeTimeout));
      } else {
        this.#endTransport();
      }
    }
    this.#whenEnded?.resolve();
  }

  #endTransport(): void {
    this.#socket.end();
    this.#limitClosing(this.#options.closeTimeout);
  }

  #onGone(): void {
    if (this.#ended === undefined) {
      this.#onLost(undefined);
      // Here even a peer whose Close has come cannot be answered any more.
      this.#fail("ERR_CONNECTION_LOST", "The connection ended before it was closed.");
    }
    clearTimeout(this.#closeTimer);
    this.#options.memoryBudget.used -= this.#charged;
    this.#charged = 0;
    this.#peers?.delete(this);
    this.#whenGone?.resolve();
  }

  #closedError(verb: string): HalyardError {
    if (this.#ended === undefined) {
      return new InvalidStateError(
        "ERR_CLOSE_SENT",
        `The socket's Close was sent (state ${this.state}), so it cannot ${verb} any more.`,
      );
    }
    this.#failure ??= this.#connectionClosed("ERR_CONNECTION_CLOSED", "The connection is closed.");
    return this.#failure;
  }

  #connectionClosed(code: string, message: string, cause?: Error): ConnectionClosedError {
    const { closeReceived, closeSent } = this.#protocol;
    return new ConnectionClosedError(
      code,
      message,
      { closeReceived, closeSent, receivedFirst: this.#receivedCloseFirst },
      cause && { cause },
    );
  }
}

function typeOf(data: OutgoingData, typeOfBytes: MessageType = "binary"): MessageType {
  if (typeof data === "string") return "text";
  return data instanceof Uint8Array ? typeOfBytes : data.type;
}

function asOutgoing(data: Exclude<SendData, string | Uint8Array>): OutgoingData {
  if (data instanceof PreparedMessage) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw new TypeError("Send a string, Uint8Array, ArrayBuffer, DataView or prepared message.");
}

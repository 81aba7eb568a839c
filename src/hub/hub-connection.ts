import { Deferred } from "../deferred.js";
import {
  ConnectionClosedError,
  HubError,
  HubMessageTooBigError,
  HubProtocolError,
  InvalidStateError,
} from "../errors.js";
import {
  encodeHandshakeResponse,
  type HandshakeRequest,
  handshakeErrors,
  maxProtocolVersion,
  parseHandshakeRequest,
} from "../hub-protocol/handshake.js";
import type { HubInput, HubProtocol } from "../hub-protocol/hub-protocol.js";
import {
  type CompletionMessage,
  type HubMessage,
  type InvocationMessage,
  isCounted,
  MessageType,
  type StreamInvocationMessage,
  type StreamItemMessage,
} from "../hub-protocol/messages.js";
import { log } from "../logger.js";
import type { ManagedClients } from "./clients.js";
import { HubCallerContext } from "./context.js";
import { checked, type StandardSchema } from "./contract.js";
import { errorText } from "./error-text.js";
import type { GroupManager } from "./groups.js";
import type { HubCall } from "./hub-call.js";
import type { HubHandler } from "./hub-handler.js";
import { type KeptMessage, MessageBuffer } from "./message-buffer.js";
import type { HubMethod } from "./methods.js";
import { type OutputOwner, output } from "./output.js";
import { SendBacklog } from "./send-backlog.js";
import type { SerializedMessage } from "./serialized-message.js";
import { type UploadOwner, UploadStream, uploadError } from "./streams.js";
import { type RateLimit, TokenBucket } from "./token-bucket.js";
import {
  type CloseReason,
  type Connection,
  type ConnectionEnd,
  type ConnectionReceiver,
  SharedBytes,
} from "./transport.js";

/** How a client is disconnected from our side. */
export interface DisconnectOptions {
  /** What the client is told; its connection then ends with this error. Default: none. */
  readonly error?: string;
  /** Whether a client with automatic reconnect comes back. Default false. */
  readonly allowReconnect?: boolean;
}

type Call = InvocationMessage | StreamInvocationMessage;

/** Unread bytes from which on the transport is told to pause. */
const heldLimit = 64 * 1024;
/** Bytes in the transport from which on messages wait here, where they can still be dropped. */
const congestedFrom = 64 * 1024;
/** Time a client has to acknowledge when the buffer of stateful reconnect is full, in milliseconds. */
const acknowledgeTimeout = 5_000;

const nothingToWaitFor = Promise.resolve();
/** Used by one connection at a time, and only while a message is parsed. */
const input: HubInput = { bytes: new Uint8Array(0), at: 0, end: 0 };

/**
 * One client of a hub: bytes in, messages dispatched; messages out, bytes to the transport. Knows
 * the handshake, keep-alive, back-pressure in both directions, and stateful reconnect.
 */
export class HubConnection implements ConnectionReceiver, OutputOwner, UploadOwner {
  readonly id: string;
  /** Fixed when the client connected. */
  readonly userId: string | undefined;
  readonly groups = new Set<string>();
  /** Calls and streams that run. */
  readonly calls = new Set<HubCall>();

  readonly #connection: Connection;
  readonly #handler: HubHandler;
  #state: "handshake" | "open" | "closing" | "closed" = "handshake";
  #protocol: HubProtocol | undefined;
  readonly #openedAt: number;
  readonly #whenDone = new Deferred<void>();
  #context: HubCallerContext | undefined;
  #abort: AbortController | undefined;

  // Input that cannot be handled yet, and why not.
  #held: Buffer | undefined;
  #heldStart = 0;
  #heldEnd = 0;
  #isReading = false;
  #isPaused = false;
  #isConnecting = false;
  /** Whether `onConnected` succeeded; `undefined` before the handshake. */
  #connecting: Promise<boolean> | undefined;
  #waitingCall: { method: HubMethod; message: Call } | undefined;
  #waitingItem: { stream: UploadStream; item: unknown } | undefined;

  #running = 0;
  #pendingResults = 0;
  #uploads: Map<string, Upload> | undefined;
  #bucket: TokenBucket | undefined;
  #methodBuckets: Map<string, TokenBucket> | undefined;

  // Output.
  readonly #backlog: SendBacklog;
  #sendable: Deferred<void> | undefined;
  /** Whether a transport carries the connection now; only stateful reconnect knows others. */
  #isPresent = true;
  #buffer: MessageBuffer | undefined;
  #isBufferFullSince = 0;
  #reconnects: TokenBucket | undefined;

  // Keep-alive, looked at by the handler's clock.
  #hasHeard = false;
  #heardAt: number;
  #pingedAt: number;
  #hasClientPinged = false;

  constructor(connection: Connection, handler: HubHandler, now: number) {
    this.#connection = connection;
    this.#handler = handler;
    this.id = connection.id;
    this.userId = connection.userId;
    this.#openedAt = now;
    this.#heardAt = now;
    this.#pingedAt = now;
    this.#backlog = new SendBacklog(handler.options.maximumSendBufferSize);
  }

  // --- what hubs and the lifetime manager see ---

  get context(): HubCallerContext {
    this.#context ??= new HubCallerContext(this.#connection, this);
    return this.#context;
  }

  get protocolName(): string {
    return this.#protocol?.name ?? "";
  }

  get allClients(): ManagedClients {
    return this.#handler.clients;
  }

  get groupManager(): GroupManager {
    return this.#handler.groups;
  }

  get maximumGroups(): number {
    return this.#handler.options.maximumGroupsPerConnection;
  }

  get clientResultTimeout(): number {
    return this.#handler.options.clientResultTimeout;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes + this.#backlog.bytes;
  }

  /** Fires when the connection has ended. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#hasEnded) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  get done(): Promise<void> {
    return this.#whenDone.promise;
  }

  get #hasEnded(): boolean {
    return this.#state === "closing" || this.#state === "closed";
  }

  /** Ends the connection with a Close message. */
  disconnect({ error, allowReconnect }: DisconnectOptions): void {
    this.#finish({ type: MessageType.close, error, allowReconnect }, "done", undefined);
  }

  // --- in ---

  receive(bytes: Uint8Array, start: number, end: number): void {
    if (this.#hasEnded) return;
    this.#hasHeard = true;
    if (this.#held !== undefined) {
      this.#hold(bytes, start, end);
      this.#readHeld();
      return;
    }
    const at = this.#read(bytes, start, end);
    if (at < end) this.#hold(bytes, at, end);
  }

  /** Handles whole messages until something has to be waited for. @returns Where it stopped. */
  #read(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    this.#isReading = true;
    try {
      if (this.#state === "handshake") {
        at = this.#readHandshake(bytes, at, end);
      }
      while (at < end && this.#state === "open" && !this.#isBlocked) {
        input.bytes = bytes;
        input.at = at;
        input.end = end;
        const protocol = this.#protocol as HubProtocol;
        const message = protocol.parse(input, this.#handler.options.maximumReceiveMessageSize);
        at = input.at;
        if (message === undefined) break;
        this.#handle(message);
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#isReading = false;
    }
    return this.#hasEnded ? end : at;
  }

  get #isBlocked(): boolean {
    return this.#isConnecting || this.#waitingCall !== undefined || this.#waitingItem !== undefined;
  }

  /** Keeps input that cannot be handled now. */
  #hold(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    const held = this.#heldEnd - this.#heldStart;
    if (this.#held === undefined || this.#held.length - this.#heldEnd < size) {
      const larger = Buffer.allocUnsafe(Math.max(2 * held, held + size));
      this.#held?.copy(larger, 0, this.#heldStart, this.#heldEnd);
      this.#held = larger;
      this.#heldStart = 0;
      this.#heldEnd = held;
    }
    this.#held.set(bytes.subarray(start, end), this.#heldEnd);
    this.#heldEnd += size;
    if (this.#isBlocked && !this.#isPaused && this.#heldEnd - this.#heldStart > heldLimit) {
      this.#isPaused = true;
      this.#connection.pause();
    }
  }

  /** Goes on with what is held, when something that blocked is over. */
  #readHeld(): void {
    if (this.#isReading || this.#hasEnded) return;
    if (this.#held !== undefined && !this.#isBlocked) {
      this.#heldStart = this.#read(this.#held, this.#heldStart, this.#heldEnd);
      if (this.#heldStart === this.#heldEnd) this.#dropHeld();
    }
    if (this.#isPaused && !this.#isBlocked) {
      this.#isPaused = false;
      this.#connection.resume();
    }
  }

  #dropHeld(): void {
    this.#held = undefined;
    this.#heldStart = 0;
    this.#heldEnd = 0;
  }

  #readHandshake(bytes: Uint8Array, start: number, end: number): number {
    const { options } = this.#handler;
    input.bytes = bytes;
    input.at = start;
    input.end = end;
    try {
      const request = parseHandshakeRequest(input, options.maximumReceiveMessageSize);
      if (request === undefined) return start;
      // Whatever runs from here on may use the shared input for another connection.
      const { at } = input;
      const choice = this.#choose(request);
      if (typeof choice === "string") this.#refuseHandshake(choice);
      else this.#open(choice, request.version);
      return at;
    } catch (error) {
      if (!(error instanceof HubProtocolError)) throw error;
      this.#refuseHandshake(
        error instanceof HubMessageTooBigError
          ? handshakeErrors.canceled
          : errorText(handshakeErrors.unexpected, error, options.enableDetailedErrors),
      );
      return end;
    }
  }

  /** The protocol that a client asks for, or why it cannot have it. */
  #choose({ protocol: name, version }: HandshakeRequest): HubProtocol | string {
    const protocol = this.#handler.options.supportedProtocols.find(
      (each) => each.name.toLowerCase() === name.toLowerCase(),
    );
    if (protocol === undefined) return handshakeErrors.protocol(name);
    if (version > maxProtocolVersion) return handshakeErrors.version(version, name);
    if (this.#connection.transport === "ServerSentEvents" && protocol.transferFormat === "Binary") {
      return handshakeErrors.transferFormat(protocol.name, "Binary");
    }
    return protocol;
  }

  #answerHandshake(error?: string): void {
    const out = output.claim(this);
    encodeHandshakeResponse(error, out);
    output.written();
    output.flushOf(this);
  }

  #refuseHandshake(error: string): void {
    log(this.#handler.options.logger, "info", "a hub handshake was refused", { error });
    this.#answerHandshake(error);
    this.#finish(undefined, "done", undefined);
  }

  #open(protocol: HubProtocol, version: number): void {
    const connection = this.#connection;
    this.#protocol = protocol;
    this.#state = "open";
    connection.format = protocol.transferFormat;
    if (version < 2) connection.allowsReconnect = false;
    if (connection.allowsReconnect) this.#buffer = new MessageBuffer(this.#handler.kept);
    this.#answerHandshake();
    this.#handler.manager.add(this);
    this.#isConnecting = true;
    this.#connecting = this.#handler.connected(this).then(
      () => {
        this.#isConnecting = false;
        this.#readHeld();
        return true;
      },
      (error) => {
        log(this.#handler.options.logger, "error", "onConnected of a hub threw", { error });
        this.#isConnecting = false;
        this.#finish(this.#closeWith(error, false), "error", undefined);
        return false;
      },
    );
  }

  #handle(message: HubMessage): void {
    if (this.#buffer !== undefined && isCounted(message.type) && !this.#buffer.accept()) return;
    switch (message.type) {
      case MessageType.invocation:
      case MessageType.streamInvocation:
        this.#handler.dispatcher.dispatch(this, message);
        break;
      case MessageType.streamItem:
        this.#onStreamItem(message);
        break;
      case MessageType.completion:
        this.#onCompletion(message);
        break;
      case MessageType.cancelInvocation:
        this.findCall(message.invocationId)?.cancel();
        break;
      case MessageType.ping:
        this.#hasClientPinged = true;
        break;
      case MessageType.close:
        this.#finish(
          { type: MessageType.close },
          "done",
          message.error === undefined ? undefined : new HubError(message.error),
        );
        break;
      case MessageType.ack:
        this.#buffer?.acknowledge(message.sequenceId);
        this.#sendBacklog();
        break;
      case MessageType.sequence:
        this.#buffer?.resetSequence(message.sequenceId);
        break;
    }
  }

  // --- calls ---

  /** Takes a place among the calls that run at once. @returns Whether there was one. */
  takeSlot(): boolean {
    if (this.#running >= this.#handler.options.maximumParallelInvocationsPerClient) return false;
    this.#running++;
    return true;
  }

  /** Nothing more is read until the call has got a place. */
  waitForSlot(method: HubMethod, message: Call): void {
    this.#waitingCall = { method, message };
  }

  /** Gives the place of a call back, if it still has one. */
  releaseSlot(call: HubCall): void {
    if (!call.hasSlot) return;
    call.hasSlot = false;
    const waiting = this.#waitingCall;
    if (waiting === undefined || this.#hasEnded) {
      this.#running--;
      return;
    }
    this.#waitingCall = undefined;
    this.#handler.dispatcher.start(this, waiting.method, waiting.message);
    this.#readHeld();
  }

  findCall(invocationId: string): HubCall | undefined {
    for (const call of this.calls) {
      if (call.invocationId === invocationId) return call;
    }
    return undefined;
  }

  /** A call is answered: its streams end and its place is free. */
  endCall(call: HubCall): void {
    this.calls.delete(call);
    for (const id of call.uploads ?? []) {
      this.#uploads?.get(id)?.stream.close();
      this.#uploads?.delete(id);
    }
    this.releaseSlot(call);
  }

  /** Whether a call may be made now by the rate limits. */
  mayCall(method: HubMethod, limit: RateLimit | undefined): boolean {
    const { rateLimits } = this.#handler.options;
    if (rateLimits?.connection !== undefined) {
      this.#bucket ??= new TokenBucket(rateLimits.connection);
      if (!this.#bucket.take()) return false;
    }
    if (rateLimits?.user !== undefined && this.userId !== undefined) {
      if (!this.#handler.bucketOf(this.userId, rateLimits.user).take()) return false;
    }
    if (limit === undefined) return true;
    this.#methodBuckets ??= new Map();
    let bucket = this.#methodBuckets.get(method.name);
    if (bucket === undefined) {
      bucket = new TokenBucket(limit);
      this.#methodBuckets.set(method.name, bucket);
    }
    return bucket.take();
  }

  answerError(invocationId: string | undefined, error: string): void {
    if (invocationId === undefined) return;
    this.write({
      type: MessageType.completion,
      invocationId,
      error,
      hasResult: false,
      result: undefined,
    });
  }

  /** Ends a stream to the client. */
  answerEnd(invocationId: string): void {
    this.write({
      type: MessageType.completion,
      invocationId,
      error: undefined,
      hasResult: false,
      result: undefined,
    });
  }

  // --- uploads ---

  /** Whether so many more streams may be open. */
  hasRoomForStreams(uploads: number): boolean {
    const limit = this.#handler.options.maximumStreamsPerClient;
    return this.calls.size < limit && (this.#uploads?.size ?? 0) + uploads <= limit;
  }

  openUpload(id: string, schema: StandardSchema | undefined): void {
    this.#uploads ??= new Map();
    this.#uploads.get(id)?.stream.close();
    const stream = new UploadStream(this.#handler.options.streamBufferCapacity, this);
    this.#uploads.set(id, { stream, schema });
  }

  upload(id: string): UploadStream | undefined {
    return this.#uploads?.get(id)?.stream;
  }

  #onStreamItem(message: StreamItemMessage): void {
    const upload = this.#uploads?.get(message.invocationId);
    if (upload === undefined) return;
    const { stream, schema } = upload;
    try {
      if (message.bindingError !== undefined) throw message.bindingError;
      const item = schema === undefined ? message.item : checked(schema, message.item, "An item");
      if (stream.isFull) this.#waitingItem = { stream, item };
      else stream.push(item);
    } catch (error) {
      const { enableDetailedErrors } = this.#handler.options;
      const text = errorText("Failed to bind Stream message.", error, enableDetailedErrors);
      stream.end(uploadError(text));
    }
  }

  #onCompletion(message: CompletionMessage): void {
    const upload = this.#uploads?.get(message.invocationId);
    if (upload === undefined) {
      this.#handler.manager.complete(this, message);
    } else {
      this.#uploads?.delete(message.invocationId);
      upload.stream.end(message.error === undefined ? undefined : uploadError(message.error));
    }
  }

  /** A full upload stream has room. */
  onRoom(): void {
    const waiting = this.#waitingItem;
    if (waiting === undefined || waiting.stream.isFull) return;
    this.#waitingItem = undefined;
    waiting.stream.push(waiting.item);
    this.#readHeld();
  }

  // --- client results ---

  /** @throws InvalidStateError when too many results are waited for already. */
  beginResult(): void {
    const limit = this.#handler.options.maximumStreamsPerClient;
    if (this.#pendingResults >= limit) {
      throw new InvalidStateError(
        "ERR_TOO_MANY_RESULTS",
        `${limit} results of this client are waited for; await them before you ask for more.`,
      );
    }
    this.#pendingResults++;
  }

  endResult(): void {
    this.#pendingResults--;
  }

  /** Why the connection ends that answers a question to another one. */
  foreignResult(invocationId: string): HubProtocolError {
    return new HubProtocolError(
      `Connection ID '${this.id}' is not valid for invocation ID '${invocationId}'.`,
    );
  }

  // --- out ---

  /**
   * Sends a message; the promise is fulfilled when the client keeps up.
   * @throws What the application's values cause when they are encoded.
   */
  send(message: HubMessage): Promise<void> {
    this.write(message);
    return this.isCongested ? this.whenSendable() : nothingToWaitFor;
  }

  /**
   * Sends a message without a promise.
   * @throws As {@link send} does.
   */
  write(message: HubMessage): void {
    if (this.#state !== "open") return;
    const out = output.claim(this);
    const before = out.length;
    try {
      (this.#protocol as HubProtocol).encode(message, out);
    } catch (error) {
      out.length = before;
      throw error;
    }
    const isPlain = this.#buffer === undefined && !this.isCongested;
    if (isPlain) {
      output.written();
      return;
    }
    const bytes = Buffer.copyBytesFrom(out.bytes, before, out.length - before);
    out.length = before;
    const isDroppable =
      message.type === MessageType.invocation && message.invocationId === undefined;
    this.#post(bytes, isCounted(message.type), isDroppable);
  }

  /**
   * Sends a message that others get too.
   *
   * @returns A promise only if the slow-client policy is to wait and there is something to wait for.
   * @throws As {@link send} does.
   */
  sendToOneOfMany(message: SerializedMessage): Promise<void> | undefined {
    if (this.#state !== "open") return undefined;
    this.#post(message.in(this.#protocol as HubProtocol), true, true);
    const waits = this.#handler.options.slowClientPolicy === "wait" && this.isCongested;
    return waits ? this.whenSendable() : undefined;
  }

  /** Whether messages have to wait for the client. */
  get isCongested(): boolean {
    return (
      this.#backlog.count > 0 ||
      this.#connection.bufferedBytes >= congestedFrom ||
      (this.#buffer !== undefined && this.#isBufferFull)
    );
  }

  /** Resolves when messages need not wait any more, or the connection has ended. */
  whenSendable(): Promise<void> {
    if (this.#hasEnded || !this.isCongested) return nothingToWaitFor;
    this.#sendable ??= new Deferred<void>();
    return this.#sendable.promise;
  }

  get #isBufferFull(): boolean {
    const { statefulReconnectBufferSize, statefulReconnectBufferCount } = this.#handler.options;
    const buffer = this.#buffer as MessageBuffer;
    return (
      buffer.bytes > statefulReconnectBufferSize || buffer.count >= statefulReconnectBufferCount
    );
  }

  #post(message: KeptMessage, counted: boolean, isDroppable: boolean): void {
    if (!this.isCongested) {
      this.#transmit(message, counted);
      return;
    }
    this.#backlog.add({ message, counted, isDroppable });
    if (this.#backlog.isOver(this.#connection.bufferedBytes)) this.#onBacklogFull();
  }

  #onBacklogFull(): void {
    const { slowClientPolicy, maximumSendBufferSize, logger } = this.#handler.options;
    if (slowClientPolicy === "dropOldest") {
      const dropped = this.#backlog.dropOldest(this.#connection.bufferedBytes);
      if (dropped > 0) this.#handler.noteDropped(dropped);
      if (!this.#backlog.isOver(this.#connection.bufferedBytes)) return;
    }
    log(logger, "warn", "a slow client was disconnected; see slowClientPolicy", {
      connectionId: this.id,
      bufferedBytes: this.bufferedBytes,
      maximumSendBufferSize,
    });
    this.#lose(
      new ConnectionClosedError(
        "ERR_SLOW_CLIENT",
        `More than ${maximumSendBufferSize} bytes waited for the client.`,
      ),
    );
  }

  /** Gives a message to the transport, behind what was written before. */
  #transmit(message: KeptMessage, counted: boolean): void {
    output.flushOf(this);
    if (counted) this.#buffer?.keep(message);
    if (!this.#isPresent) {
      if (this.#handler.isKeptTotalOver) this.#lose(tooMuchKept());
      return;
    }
    if (message instanceof SharedBytes) this.#connection.sendShared(message);
    else this.#connection.send(message, 0, message.length);
  }

  deliver(bytes: Uint8Array, start: number, end: number): void {
    if (this.#state === "closed") return;
    this.#connection.send(bytes, start, end);
  }

  drained(): void {
    this.#sendBacklog();
  }

  #sendBacklog(): void {
    const isFree = () =>
      this.#connection.bufferedBytes < congestedFrom &&
      (this.#buffer === undefined || !this.#isBufferFull);
    while (this.#backlog.count > 0 && isFree()) {
      const { message, counted } = this.#backlog.take();
      this.#transmit(message, counted);
    }
    if (this.#sendable !== undefined && !this.isCongested) {
      this.#sendable.resolve();
      this.#sendable = undefined;
    }
  }

  // --- stateful reconnect ---

  interrupted(): void {
    output.flushOf(this);
    this.#isPresent = false;
  }

  resumed(): void {
    if (this.#hasEnded || this.#buffer === undefined) return;
    const { statefulReconnectRate } = this.#handler.options;
    this.#reconnects ??= new TokenBucket(statefulReconnectRate);
    if (!this.#reconnects.take()) {
      this.#lose(
        new ConnectionClosedError("ERR_RECONNECT_RATE", "The client reconnected too often."),
      );
      return;
    }
    this.#isPresent = true;
    // The client sends again what we have not acknowledged, so that what is held would come twice,
    // and a message that was cut would never be completed.
    this.#dropHeld();
    this.#hasHeard = true;
    this.#writeUncounted({
      type: MessageType.sequence,
      sequenceId: this.#buffer.firstUnacknowledged,
    });
    output.flushOf(this);
    for (const message of this.#buffer.unacknowledged()) {
      if (message instanceof SharedBytes) this.#connection.sendShared(message);
      else this.#connection.send(message, 0, message.length);
    }
    this.#sendBacklog();
    this.#readHeld();
  }

  userChanged(): void {
    if (!this.#hasEnded && this.#state !== "handshake") this.#handler.userChanged(this);
  }

  // --- time ---

  /** Called by the handler's clock, about once a second. */
  tick(now: number): void {
    const { options } = this.#handler;
    if (this.#state === "handshake") {
      if (now - this.#openedAt >= options.handshakeTimeout) {
        this.#refuseHandshake(handshakeErrors.canceled);
      }
      return;
    }
    if (this.#state !== "open") return;
    this.#checkClient(now);
    if (this.#isPresent && this.#state === "open") {
      this.#ping(now);
      this.#acknowledge(now);
    }
  }

  #checkClient(now: number): void {
    if (this.#hasHeard || this.#isBlocked || !this.#isPresent) {
      this.#hasHeard = false;
      this.#heardAt = now;
      return;
    }
    const { clientTimeoutInterval } = this.#handler.options;
    if (!this.#hasClientPinged || now - this.#heardAt < clientTimeoutInterval) return;
    const error = new ConnectionClosedError(
      "ERR_CLIENT_TIMEOUT",
      "Client hasn't sent a message/ping within the configured ClientTimeoutInterval.",
    );
    this.#finish(this.#closeWith(error, true), "done", error);
  }

  #ping(now: number): void {
    if (this.#connection.transport === "LongPolling") return;
    if (now - this.#pingedAt < this.#handler.options.keepAliveInterval) return;
    this.#pingedAt = now;
    // One more would only queue behind what the client does not take.
    if (this.#connection.bufferedBytes > 0) return;
    output.flushOf(this);
    this.#connection.sendShared(this.#handler.pingIn(this.#protocol as HubProtocol));
  }

  #acknowledge(now: number): void {
    if (this.#buffer === undefined) return;
    const sequenceId = this.#buffer.takeAck();
    if (sequenceId !== undefined) this.#writeUncounted({ type: MessageType.ack, sequenceId });
    if (!this.#isBufferFull) {
      this.#isBufferFullSince = 0;
    } else if (this.#isBufferFullSince === 0) {
      this.#isBufferFullSince = now;
    } else if (now - this.#isBufferFullSince >= acknowledgeTimeout) {
      this.#lose(
        new ConnectionClosedError(
          "ERR_NOT_ACKNOWLEDGED",
          `The client did not acknowledge anything for ${acknowledgeTimeout} ms.`,
        ),
      );
    }
  }

  /** Sends what overtakes the backlog, because its end may depend on it. */
  #writeUncounted(message: HubMessage): void {
    const out = output.claim(this);
    (this.#protocol as HubProtocol).encode(message, out);
    output.written();
  }

  // --- the end ---

  /** The transport has ended, or is about to and takes a last message. */
  closed({ cause, error }: ConnectionEnd): void {
    if (cause === "shutdown" || cause === "expired") {
      this.#finish({ type: MessageType.close, allowReconnect: true }, "done", error);
    } else {
      this.#isPresent = false;
      this.#finish(undefined, "done", error);
    }
    this.#state = "closed";
  }

  /** The peer broke the protocol, or the unforeseen happened. */
  #fail(error: Error): void {
    const { logger } = this.#handler.options;
    const isPeers = error instanceof HubProtocolError;
    log(logger, isPeers ? "warn" : "error", "a hub connection was ended by an error", {
      connectionId: this.id,
      ...(isPeers ? { code: error.code, reason: error.message } : { error }),
    });
    this.#finish(this.#closeWith(error, true), "error", error);
  }

  #closeWith(error: unknown, allowReconnect: boolean): HubMessage {
    const { enableDetailedErrors } = this.#handler.options;
    const text = errorText("Connection closed with an error.", error, enableDetailedErrors);
    return { type: MessageType.close, error: text, allowReconnect };
  }

  /** Ends a connection whose client takes nothing any more. */
  #lose(error: Error): void {
    this.#finish(undefined, "error", error, true);
  }

  /**
   * The one way to the end: Close message, then everybody who waits, `onDisconnected`, and at last
   * the transport.
   *
   * @param close - What the client is told, if it can be.
   * @param error - What `onDisconnected` gets.
   * @param isLost - Whether the client takes nothing any more, not even Close.
   */
  #finish(
    close: HubMessage | undefined,
    reason: CloseReason,
    error: Error | undefined,
    isLost = false,
  ): void {
    if (this.#hasEnded) return;
    const wasOpen = this.#state === "open";
    // Before Close is sent: some clients come back with the old token when they receive it.
    this.#connection.allowsReconnect = false;
    if (wasOpen && close !== undefined && this.#isPresent) this.#writeLast(close);
    else output.flushOf(this);
    this.#state = "closing";
    this.#abort?.abort();
    for (const call of [...this.calls]) call.cancel();
    for (const { stream } of this.#uploads?.values() ?? []) stream.end(connectionEnded());
    this.#waitingCall = undefined;
    this.#waitingItem = undefined;
    this.#dropHeld();
    this.#backlog.clear();
    this.#buffer?.clear();
    this.#sendable?.resolve();
    if (isLost) this.#connection.abort();
    void this.#disconnected(error).then(() => {
      this.#handler.manager.remove(this);
      this.#handler.remove(this);
      if (!isLost) this.#connection.close(reason);
      this.#whenDone.resolve();
    });
  }

  #writeLast(close: HubMessage): void {
    while (this.#backlog.count > 0) this.#transmit(this.#backlog.take().message, false);
    this.#writeUncounted(close);
    output.flushOf(this);
  }

  /** Tells the application, if it was told of the client before; never rejects. */
  async #disconnected(error: Error | undefined): Promise<void> {
    if (await this.#connecting) await this.#handler.disconnected(this, error);
  }
}

/** An open stream from the client. */
interface Upload {
  readonly stream: UploadStream;
  readonly schema: StandardSchema | undefined;
}

function connectionEnded(): ConnectionClosedError {
  return new ConnectionClosedError(
    "ERR_CLIENT_DISCONNECTED",
    "The underlying connection was closed.",
  );
}

function tooMuchKept(): ConnectionClosedError {
  return new ConnectionClosedError(
    "ERR_RECONNECT_MEMORY",
    "Too much is kept for clients that may reconnect; see statefulReconnectTotalSize.",
  );
}

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
  type HubMessage,
  type InvocationMessage,
  isCounted,
  MessageType,
  type StreamInvocationMessage,
} from "../hub-protocol/messages.js";
import { log } from "../logger.js";
import { CallLimits } from "./call-limits.js";
import { CallList } from "./call-list.js";
import type { ManagedClients } from "./clients.js";
import { HubCallerContext } from "./context.js";
import { errorText } from "./error-text.js";
import type { GroupManager } from "./groups.js";
import type { HubCall } from "./hub-call.js";
import type { HubHandler } from "./hub-handler.js";
import type { HubMethod } from "./methods.js";
import { Outbox, type OutboxOwner } from "./outbox.js";
import type { RateLimit } from "./token-bucket.js";
import type { CloseReason, Connection, ConnectionEnd, ConnectionReceiver } from "./transport.js";
import { Uploads } from "./uploads.js";

/** How a client is disconnected from our side. */
export interface DisconnectOptions {
  /** What the client is told; its connection then ends with this error. Default: none. */
  readonly error?: string;
  /** Whether a client with automatic reconnect comes back. Default false. */
  readonly allowReconnect?: boolean;
}

type Call = InvocationMessage | StreamInvocationMessage;

/** Used by one connection at a time, and only while a message is parsed. */
const input: HubInput = { bytes: new Uint8Array(0), at: 0, end: 0 };

/**
 * One client of a hub: bytes in, messages dispatched; messages out, bytes to the transport. Knows
 * the handshake, keep-alive, back-pressure in both directions, and stateful reconnect.
 */
export class HubConnection implements ConnectionReceiver, OutboxOwner {
  readonly id: string;
  /** Fixed when the client connected. */
  readonly userId: string | undefined;
  /** The way out. */
  readonly out: Outbox;
  /** The lifetime manager's note of the groups it is in. */
  groups: Set<string> | undefined;

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

  readonly #calls = new CallList();
  #running = 0;
  #pendingResults = 0;
  #uploads: Uploads | undefined;
  #limits: CallLimits | undefined;

  // Keep-alive, looked at by the handler's clock.
  #hasHeard = false;
  #heardAt: number;
  #hasClientPinged = false;

  constructor(connection: Connection, handler: HubHandler, now: number) {
    this.#connection = connection;
    this.#handler = handler;
    this.id = connection.id;
    this.userId = connection.userId;
    this.#openedAt = now;
    this.#heardAt = now;
    this.out = new Outbox(connection, handler, this, now);
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

  /** Whether messages come and go. */
  get isOpen(): boolean {
    return this.#state === "open";
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
    return (
      this.#isConnecting || this.#waitingCall !== undefined || this.#uploads?.isBlocked === true
    );
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
    if (
      this.#isBlocked &&
      !this.#isPaused &&
      this.#heldEnd - this.#heldStart > this.#connection.applicationMaxBufferSize
    ) {
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

  #refuseHandshake(error: string): void {
    log(this.#handler.options.logger, "info", "a hub handshake was refused", { error });
    this.out.writeFirst((out) => encodeHandshakeResponse(error, out));
    this.#finish(undefined, "done", undefined);
  }

  #open(protocol: HubProtocol, version: number): void {
    const connection = this.#connection;
    this.#protocol = protocol;
    this.#state = "open";
    connection.format = protocol.transferFormat;
    if (version < 2) connection.allowsReconnect = false;
    this.out.writeFirst((out) => encodeHandshakeResponse(undefined, out));
    // The transport may have ended at that.
    if (this.#hasEnded) return;
    this.out.open(protocol);
    this.#handler.manager.add(this);
    this.#isConnecting = true;
    this.#connecting = this.#handler.connected(this).then(
      () => {
        this.#isConnecting = false;
        this.#readHeld();
        return true;
      },
      (error) => {
        const level = error instanceof HubError ? "info" : "error";
        log(this.#handler.options.logger, level, "onConnected of a hub threw", { error });
        this.#isConnecting = false;
        this.#finish(this.#closeWith(error, false), "error", undefined);
        return false;
      },
    );
  }

  #handle(message: HubMessage): void {
    const { kept } = this.out;
    if (isCounted(message.type)) this.#connection.wasUsed = true;
    if (kept !== undefined && isCounted(message.type) && !kept.accept()) return;
    switch (message.type) {
      case MessageType.invocation:
      case MessageType.streamInvocation:
        this.#handler.dispatcher.dispatch(this, message);
        break;
      case MessageType.streamItem:
        this.#uploads?.add(message);
        break;
      case MessageType.completion:
        if (!this.#uploads?.complete(message)) this.#handler.manager.complete(this, message);
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
        this.out.acknowledged(message.sequenceId);
        break;
      case MessageType.sequence:
        kept?.resetSequence(message.sequenceId);
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

  /** Calls and streams that run, those of the life cycle among them. */
  get runningCalls(): number {
    return this.#calls.size;
  }

  addCall(call: HubCall): void {
    this.#calls.add(call);
  }

  removeCall(call: HubCall): void {
    this.#calls.delete(call);
  }

  /** The call of this id that is not answered. */
  findCall(invocationId: string): HubCall | undefined {
    return this.#calls.find(invocationId);
  }

  /** A call is answered and its method done: its streams end and its place is free. */
  endCall(call: HubCall): void {
    this.removeCall(call);
    this.closeUploads(call);
    this.releaseSlot(call);
  }

  closeUploads(call: HubCall): void {
    for (const stream of call.uploads ?? []) this.#uploads?.close(stream);
  }

  /** Whether a call may be made now by the rate limits. */
  mayCall(method: HubMethod | undefined, limit: RateLimit | undefined): boolean {
    const { rateLimits } = this.#handler.options;
    const { userId } = this;
    const user =
      rateLimits?.user !== undefined && userId !== undefined
        ? this.#handler.bucketOf(userId, rateLimits.user)
        : undefined;
    this.#limits ??= new CallLimits();
    return this.#limits.take(rateLimits, user, method, limit);
  }

  /** Ends a call or stream without a result, or with an error. */
  answer(invocationId: string | undefined, error: string | undefined): void {
    if (invocationId === undefined) return;
    this.out.write({
      type: MessageType.completion,
      invocationId,
      error,
      hasResult: false,
      result: undefined,
    });
  }

  // --- uploads ---

  /** Whether so many more streams may be open. */
  hasRoomForStreams(uploads: number): boolean {
    const limit = this.#handler.options.maximumStreamsPerClient;
    return this.runningCalls < limit && (this.#uploads?.size ?? 0) + uploads <= limit;
  }

  /** The client's streams. */
  get uploads(): Uploads {
    this.#uploads ??= new Uploads(this.#handler.options, () => this.#readHeld());
    return this.#uploads;
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

  // --- what the transport tells ---

  drained(): void {
    this.out.sendBacklog();
  }

  interrupted(): void {
    this.out.interrupted();
  }

  resumed(): void {
    if (this.#hasEnded) return;
    if (this.#state === "open" && !this.out.resumed()) return;
    // The client sends again what we have not acknowledged, so that what is held would come twice,
    // and a message that was cut would never be completed.
    this.#dropHeld();
    this.#hasHeard = true;
    this.#readHeld();
  }

  userChanged(): void {
    if (this.#state !== "open") return;
    // What is sent to a user must not reach somebody else.
    if (this.#connection.userId !== this.userId) this.disconnect({});
    else this.#handler.userChanged(this);
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
    this.out.tick(now);
  }

  #checkClient(now: number): void {
    if (this.#hasHeard || this.#isBlocked || !this.out.isPresent) {
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

  // --- the end ---

  /** The transport has ended, or is about to and takes a last message. */
  closed({ cause, error }: ConnectionEnd): void {
    if (cause === "shutdown" || cause === "expired") {
      this.#finish({ type: MessageType.close, allowReconnect: true }, "done", error);
    } else {
      this.out.gone();
      const isCut = error === undefined && this.#heldEnd > this.#heldStart && !this.#isBlocked;
      const cut = isCut
        ? new HubProtocolError("Connection terminated while reading a message.")
        : undefined;
      this.#finish(undefined, "done", error ?? cut);
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
  lose(error: Error): void {
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
    // Before Close is sent: some clients come back with the old token when they receive it.
    this.#connection.allowsReconnect = false;
    this.#state = "closing";
    this.out.end(close);
    this.#abort?.abort();
    this.#calls.cancelAll();
    this.#uploads?.end(connectionEnded());
    if (this.#pendingResults > 0) this.#handler.manager.failResults(this);
    this.#waitingCall = undefined;
    this.#dropHeld();
    if (isLost) this.#connection.abort();
    void this.#disconnected(error).then(() => {
      this.#handler.manager.remove(this);
      this.#handler.remove(this);
      if (!isLost) this.#connection.close(reason);
      this.#whenDone.resolve();
    });
  }

  /** Tells the application, if it was told of the client before; never rejects. */
  async #disconnected(error: Error | undefined): Promise<void> {
    // Who ends the connection inside of onConnected does so before its promise is there.
    await undefined;
    if (await this.#connecting) await this.#handler.disconnected(this, error);
  }
}

function connectionEnded(): ConnectionClosedError {
  return new ConnectionClosedError(
    "ERR_CLIENT_DISCONNECTED",
    "The underlying connection was closed.",
  );
}

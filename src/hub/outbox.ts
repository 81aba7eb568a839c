import { Deferred } from "../deferred.js";
import { ConnectionClosedError } from "../errors.js";
import type { ByteWriter } from "../hub-protocol/byte-writer.js";
import type { HubProtocol } from "../hub-protocol/hub-protocol.js";
import { type HubMessage, isCounted, MessageType } from "../hub-protocol/messages.js";
import { log } from "../logger.js";
import type { HubHandler } from "./hub-handler.js";
import { type KeptMessage, MessageBuffer } from "./message-buffer.js";
import { type OutputOwner, output } from "./output.js";
import { SendBacklog } from "./send-backlog.js";
import type { SerializedMessage } from "./serialized-message.js";
import { TokenBucket } from "./token-bucket.js";
import { type Connection, SharedBytes } from "./transport.js";

/** Whoever an outbox belongs to. */
export interface OutboxOwner {
  /** The client takes nothing any more, or must not come back: the connection has to end. */
  lose(error: Error): void;
}

/** Time a client has to acknowledge when the buffer of stateful reconnect is full, in milliseconds. */
const acknowledgeTimeout = 5_000;

const nothingToWaitFor = Promise.resolve();

/**
 * The way out of one connection: encodes, keeps the order, and holds messages back from a client
 * that does not keep up. Under stateful reconnect it also keeps what is not acknowledged.
 */
export class Outbox implements OutputOwner {
  readonly #connection: Connection;
  readonly #handler: HubHandler;
  readonly #owner: OutboxOwner;
  /** `undefined` until the handshake, and after the end: then nothing is sent. */
  #protocol: HubProtocol | undefined;
  /** Present only while the client does not keep up. */
  #backlog: SendBacklog | undefined;
  #sendable: Deferred<void> | undefined;
  #pingedAt: number;
  /** Bytes in the transport from which on messages wait here, where they can still be dropped. */
  readonly #window: number;

  /** Whether a transport carries the connection now; only stateful reconnect knows others. */
  #isPresent = true;
  /** Present under stateful reconnect. */
  #kept: MessageBuffer | undefined;
  #isKeptFullSince = 0;
  #reconnects: TokenBucket | undefined;

  constructor(connection: Connection, handler: HubHandler, owner: OutboxOwner, now: number) {
    this.#connection = connection;
    this.#handler = handler;
    this.#owner = owner;
    this.#pingedAt = now;
    this.#window = connection.transportMaxBufferSize;
  }

  /** Begins to send, in the protocol that the handshake agreed on. */
  open(protocol: HubProtocol): void {
    this.#protocol = protocol;
    if (this.#connection.allowsReconnect) this.#kept = new MessageBuffer(this.#handler.kept);
  }

  get #isOpen(): boolean {
    return this.#protocol !== undefined;
  }

  get isPresent(): boolean {
    return this.#isPresent;
  }

  /** What stateful reconnect counts; `undefined` without it. */
  get kept(): MessageBuffer | undefined {
    return this.#kept;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes + (this.#backlog?.bytes ?? 0);
  }

  // --- messages ---

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
    if (this.#protocol === undefined) return;
    const before = output.encode(this, this.#protocol, message);
    this.#connection.wasUsed = true;
    if (!this.#isOpen) {
      // A value ended the connection while it was encoded.
      output.takeBack(before);
      return;
    }
    if (this.#kept === undefined && !this.isCongested) {
      output.written();
      return;
    }
    const bytes = output.takeBack(before);
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
    if (this.#protocol === undefined) return undefined;
    this.#connection.wasUsed = true;
    this.#post(message.in(this.#protocol), true, true);
    const waits = this.#handler.options.slowClientPolicy === "wait" && this.isCongested;
    return waits ? this.whenSendable() : undefined;
  }

  /** Writes what comes before hub messages: the answer to the handshake. */
  writeFirst(encode: (out: ByteWriter) => void): void {
    encode(output.claim(this));
    output.written();
    output.flushOf(this);
  }

  /** Sends what overtakes the backlog, because its end may depend on it. */
  #writeUncounted(message: HubMessage): void {
    output.encode(this, this.#protocol as HubProtocol, message);
    output.written();
  }

  // --- back-pressure ---

  /** Whether messages have to wait for the client. */
  get isCongested(): boolean {
    return this.#backlog !== undefined || !this.#isFree;
  }

  get #isFree(): boolean {
    if (this.#connection.bufferedBytes >= this.#window) return false;
    return this.#kept === undefined || !this.#isKeptFull(this.#kept);
  }

  /** Resolves when messages need not wait any more, or the connection has ended. */
  whenSendable(): Promise<void> {
    if (this.#protocol === undefined || !this.isCongested) return nothingToWaitFor;
    this.#sendable ??= new Deferred<void>();
    return this.#sendable.promise;
  }

  #post(message: KeptMessage, counted: boolean, isDroppable: boolean): void {
    if (!this.isCongested) {
      this.#transmit(message, counted);
      return;
    }
    this.#backlog ??= new SendBacklog(this.#handler.options.maximumSendBufferSize);
    this.#backlog.add({ message, counted, isDroppable });
    if (this.#backlog.isOver(this.#connection.bufferedBytes)) this.#onBacklogFull(this.#backlog);
  }

  #onBacklogFull(backlog: SendBacklog): void {
    const { slowClientPolicy, maximumSendBufferSize, logger } = this.#handler.options;
    if (slowClientPolicy === "dropOldest") {
      const dropped = backlog.dropOldest(this.#connection.bufferedBytes);
      if (dropped > 0) this.#handler.noteDropped(dropped);
      if (!backlog.isOver(this.#connection.bufferedBytes)) return;
    }
    log(logger, "warn", "a slow client was disconnected; see slowClientPolicy", {
      connectionId: this.#connection.id,
      bufferedBytes: this.bufferedBytes,
      maximumSendBufferSize,
    });
    this.#owner.lose(
      new ConnectionClosedError(
        "ERR_SLOW_CLIENT",
        `More than ${maximumSendBufferSize} bytes waited for the client.`,
      ),
    );
  }

  /** Gives a message to the transport, behind what was written before. */
  #transmit(message: KeptMessage, counted: boolean): void {
    output.flushOf(this);
    if (!this.#isOpen) return;
    if (counted && this.#kept !== undefined) this.#keep(this.#kept, message);
    if (this.#isPresent) this.#hand(message);
    else if (this.#handler.isKeptTotalOver) this.#owner.lose(tooMuchKept());
  }

  #keep(kept: MessageBuffer, message: KeptMessage): void {
    if (this.#isPresent && this.#handler.isKeptTotalOver) {
      // Too much is kept for all clients together: this one goes on, but cannot come back.
      this.#connection.allowsReconnect = false;
      kept.stop();
    }
    kept.keep(message);
  }

  #hand(message: KeptMessage): void {
    if (message instanceof SharedBytes) this.#connection.sendShared(message);
    else this.#connection.send(message, 0, message.length);
  }

  deliver(bytes: Uint8Array, start: number, end: number): void {
    this.#connection.send(bytes, start, end);
  }

  /** Sends what waited, as far as there is room now. */
  sendBacklog(): void {
    const backlog = this.#backlog;
    if (backlog !== undefined) {
      // To send may be to find out that the transport has ended.
      while (backlog.count > 0 && this.#isOpen && this.#isFree) {
        const { message, counted } = backlog.take();
        this.#transmit(message, counted);
      }
      if (backlog.count === 0 && this.#backlog === backlog) this.#backlog = undefined;
    }
    if (this.#sendable !== undefined && !this.isCongested) {
      this.#sendable.resolve();
      this.#sendable = undefined;
    }
  }

  // --- stateful reconnect ---

  #isKeptFull(kept: MessageBuffer): boolean {
    const { statefulReconnectBufferSize, statefulReconnectBufferCount } = this.#handler.options;
    return kept.bytes > statefulReconnectBufferSize || kept.count >= statefulReconnectBufferCount;
  }

  /** The client has received everything up to `sequenceId`. @throws HubProtocolError if it cannot. */
  acknowledged(sequenceId: number): void {
    if (this.#kept?.acknowledge(sequenceId)) this.#isKeptFullSince = 0;
    this.sendBacklog();
  }

  interrupted(): void {
    output.flushOf(this);
    // Before the handshake there is nothing to keep, and whoever comes then begins anew.
    if (this.#kept !== undefined) this.#isPresent = false;
  }

  /**
   * A new socket is there: says where the count stands, and sends again what is not acknowledged.
   * @returns Whether the client may come back so often.
   */
  resumed(): boolean {
    if (this.#protocol === undefined || this.#kept === undefined) return false;
    this.#reconnects ??= new TokenBucket(this.#handler.options.statefulReconnectRate);
    if (!this.#reconnects.take()) {
      this.#owner.lose(
        new ConnectionClosedError("ERR_RECONNECT_RATE", "The client reconnected too often."),
      );
      return false;
    }
    this.#isPresent = true;
    this.#isKeptFullSince = 0;
    this.#writeUncounted({
      type: MessageType.sequence,
      sequenceId: this.#kept.firstUnacknowledged,
    });
    output.flushOf(this);
    for (const message of this.#kept.unacknowledged()) this.#hand(message);
    this.sendBacklog();
    return true;
  }

  // --- time ---

  /** Pings and acknowledges, when it is time. */
  tick(now: number): void {
    if (this.#protocol === undefined || !this.#isPresent) return;
    this.#ping(this.#protocol, now);
    // The ping may have found out that the transport has ended.
    if (this.#kept !== undefined && this.#isOpen) this.#acknowledge(this.#kept, now);
  }

  #ping(protocol: HubProtocol, now: number): void {
    if (this.#connection.transport === "LongPolling") return;
    if (now - this.#pingedAt < this.#handler.options.keepAliveInterval) return;
    this.#pingedAt = now;
    // One more would only queue behind what the client does not take.
    if (this.#connection.bufferedBytes > 0) return;
    output.flushOf(this);
    this.#connection.sendShared(this.#handler.pingIn(protocol));
  }

  #acknowledge(kept: MessageBuffer, now: number): void {
    const sequenceId = kept.takeAck();
    if (sequenceId !== undefined) this.#writeUncounted({ type: MessageType.ack, sequenceId });
    if (!this.#isKeptFull(kept)) {
      this.#isKeptFullSince = 0;
    } else if (this.#isKeptFullSince === 0) {
      this.#isKeptFullSince = now;
    } else if (now - this.#isKeptFullSince >= acknowledgeTimeout) {
      this.#owner.lose(
        new ConnectionClosedError(
          "ERR_NOT_ACKNOWLEDGED",
          `The client did not acknowledge anything for ${acknowledgeTimeout} ms.`,
        ),
      );
    }
  }

  // --- the end ---

  /** The transport has ended: nothing reaches the client any more. */
  gone(): void {
    this.#isPresent = false;
  }

  /**
   * Sends everything that waits, `close` behind it, and then nothing more; who waits goes on.
   * @param close - `undefined` when the client can or need not be told.
   */
  end(close: HubMessage | undefined): void {
    if (close !== undefined && this.#protocol !== undefined && this.#isPresent) {
      output.flushOf(this);
      const backlog = this.#backlog;
      while (backlog !== undefined && backlog.count > 0) this.#hand(backlog.take().message);
      try {
        this.#writeUncounted(close);
      } catch {
        // Ended from within a value that is being encoded: there is no place for Close.
      }
    }
    output.flushOf(this);
    this.#protocol = undefined;
    this.#backlog = undefined;
    this.#kept?.clear();
    this.#sendable?.resolve();
  }
}

function tooMuchKept(): ConnectionClosedError {
  return new ConnectionClosedError(
    "ERR_RECONNECT_MEMORY",
    "Too much is kept for clients that may reconnect; see statefulReconnectTotalSize.",
  );
}

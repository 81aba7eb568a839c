import { Deferred, quiet, rejected } from "../deferred.js";
import { Gathering } from "../engine/gathering.js";
import { ConnectionClosedError, InvalidStateError, SendBufferFullError } from "../errors.js";
import type {
  Connection,
  ConnectionEnd,
  ConnectionHandler,
  ConnectionReceiver,
  ConnectionRequest,
  TransportName,
} from "../hub/transport.js";
import { type Logger, log } from "../logger.js";
import { type ConnectionOptions, resolveConnectionOptions } from "./options.js";

/** Bytes waiting for a client above which a send is refused; only who does not await gets there. */
const mostBuffered = 1024 * 1024;

/** What a raw connection sends: a string is text, bytes are binary. */
export type RawData = string | Uint8Array | ArrayBuffer | DataView;

export interface RawSendOptions {
  /**
   * What bytes are sent as over WebSockets; `"text"` is for whole messages of UTF-8, and is not
   * checked. Default `"binary"`.
   */
  readonly type?: "text" | "binary";
}

/**
 * A client's connection without hubs, over whichever transport it chose: bytes in both directions,
 * whose boundaries mean nothing on the way in.
 *
 * @example
 * mapConnection("/echo", async (connection) => {
 *   for await (const bytes of connection) await connection.send(bytes);
 * });
 */
export class RawConnection implements AsyncIterable<Buffer> {
  /** What the application keeps for this connection. */
  readonly items = new Map<unknown, unknown>();
  readonly #connection: Connection;
  readonly #receiver: RawReceiver;

  /** @internal */
  constructor(connection: Connection, receiver: RawReceiver) {
    this.#connection = connection;
    this.#receiver = receiver;
  }

  /** Public id; the secret by which the client has the connection is another. */
  get id(): string {
    return this.#connection.id;
  }

  get transport(): TransportName {
    return this.#connection.transport;
  }

  /** The request by which the client connected. */
  get request(): ConnectionRequest {
    return this.#connection.request;
  }

  /** What authentication says of the client. */
  get user(): unknown {
    return this.#connection.user;
  }

  get userId(): string | undefined {
    return this.#connection.userId;
  }

  /** Bytes sent that the client has not taken. */
  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  /** Fires when the connection has ended. */
  get signal(): AbortSignal {
    return this.#receiver.signal;
  }

  /**
   * Sends a message: over WebSockets one frame, elsewhere bytes.
   *
   * Resolves when no more than `transportMaxBufferSize` waits for the client.
   * @throws ConnectionClosedError when the connection has ended; SendBufferFullError when more than
   *   1 MiB waits, nothing being sent.
   */
  send(data: RawData, { type = "binary" }: RawSendOptions = {}): Promise<void> {
    return this.#receiver.send(data, type);
  }

  /** Ends the connection at once. */
  abort(): void {
    this.#connection.abort();
  }

  /**
   * What the client sends, until it says good-bye or the server ends the connection.
   *
   * @throws ConnectionClosedError when the connection was lost or timed out.
   */
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    return { next: () => this.#receiver.next() };
  }
}

/** What an application does with a raw connection; when it returns the connection is closed. */
export type RawHandler = (connection: RawConnection) => unknown;

/**
 * Gives every connection to `handler`: when that returns, the connection is closed in order (over
 * WebSockets with 1000), when it throws, with 1011.
 */
export function rawConnections(
  handler: RawHandler,
  options: ConnectionOptions = {},
): ConnectionHandler {
  if (typeof handler !== "function") throw new TypeError("The handler must be a function.");
  const resolved = resolveConnectionOptions(options);
  return {
    open: (connection) => new RawReceiver(connection, handler, resolved),
  };
}

interface RawLimits {
  readonly applicationMaxBufferSize: number;
  readonly transportMaxBufferSize: number;
  readonly logger: Logger;
}

class RawReceiver implements ConnectionReceiver {
  readonly done: Promise<void>;
  readonly #connection: Connection;
  readonly #limits: RawLimits;
  /** What came and was not asked for yet. */
  #unread: Gathering | undefined;
  #next: Deferred<IteratorResult<Buffer, undefined>> | undefined;
  #senders: Deferred<void>[] = [];
  #end: ConnectionEnd | undefined;
  #failure: ConnectionClosedError | undefined;
  #abort: AbortController | undefined;
  #isPaused = false;

  constructor(connection: Connection, handler: RawHandler, limits: RawLimits) {
    this.#connection = connection;
    this.#limits = limits;
    this.done = this.#run(handler, new RawConnection(connection, this));
  }

  async #run(handler: RawHandler, connection: RawConnection): Promise<void> {
    // The transport must know its receiver before the application can do anything with it.
    await undefined;
    try {
      await handler(connection);
      this.#connection.close("done");
    } catch (error) {
      if (error !== this.#failure || error === undefined) {
        log(this.#limits.logger, "error", "a connection's handler threw", {
          connectionId: connection.id,
          error,
        });
      }
      this.#connection.close("error");
    }
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#end !== undefined) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  // --- in ---

  receive(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const next = this.#next;
    if (next !== undefined) {
      this.#next = undefined;
      next.resolve({ done: false, value: Buffer.copyBytesFrom(bytes, start, end - start) });
      return;
    }
    this.#unread ??= new Gathering("binary");
    const { buffer, byteOffset, length } = bytes;
    const source = Buffer.isBuffer(bytes) ? bytes : Buffer.from(buffer, byteOffset, length);
    this.#unread.add(source, start, end, 0);
    if (this.#isPaused || this.#unread.size < this.#limits.applicationMaxBufferSize) return;
    this.#isPaused = true;
    this.#connection.pause();
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    if (this.#next !== undefined) {
      return rejected(
        new InvalidStateError("ERR_RECEIVE_PENDING", "Another receive waits on this connection."),
      );
    }
    const unread = this.#unread;
    if (unread !== undefined) {
      this.#unread = undefined;
      const value = unread.takeBytes();
      if (this.#isPaused) {
        this.#isPaused = false;
        this.#connection.resume();
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.#end !== undefined) return this.#ending();
    this.#next = new Deferred();
    return this.#next.promise;
  }

  #ending(): Promise<IteratorResult<Buffer, undefined>> {
    if (isGood(this.#end as ConnectionEnd)) {
      return Promise.resolve({ done: true, value: undefined });
    }
    return rejected(this.#closedError());
  }

  // --- out ---

  send(data: RawData, type: "text" | "binary"): Promise<void> {
    if (this.#end !== undefined) return rejected(this.#closedError());
    const connection = this.#connection;
    const waiting = connection.bufferedBytes;
    if (waiting > mostBuffered) return rejected(new SendBufferFullError(waiting, mostBuffered));
    let bytes: Uint8Array;
    try {
      bytes = asBytes(data);
    } catch (error) {
      return rejected(error);
    }
    connection.format = typeof data === "string" || type === "text" ? "Text" : "Binary";
    connection.send(bytes, 0, bytes.length);
    if (connection.bufferedBytes <= this.#limits.transportMaxBufferSize) return Promise.resolve();
    const sender = new Deferred<void>();
    this.#senders.push(sender);
    // What leaves in this very turn is not reported.
    setImmediate(() => {
      if (connection.bufferedBytes <= this.#limits.transportMaxBufferSize) this.drained();
    });
    return quiet(sender.promise);
  }

  drained(): void {
    const senders = this.#senders;
    if (senders.length === 0) return;
    this.#senders = [];
    for (const sender of senders) sender.resolve();
  }

  // --- the end ---

  interrupted(): void {}
  resumed(): void {}
  userChanged(): void {}

  closed(end: ConnectionEnd): void {
    this.#end = end;
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) {
      if (isGood(end)) next.resolve({ done: true, value: undefined });
      else next.reject(this.#closedError());
    }
    const senders = this.#senders;
    this.#senders = [];
    for (const sender of senders) sender.reject(this.#closedError());
    this.#abort?.abort();
  }

  #closedError(): ConnectionClosedError {
    const { cause, error } = this.#end as ConnectionEnd;
    this.#failure ??= new ConnectionClosedError(
      cause === "lost" ? "ERR_CONNECTION_LOST" : "ERR_CONNECTION_CLOSED",
      `The connection has ended (${cause}).`,
      {},
      error && { cause: error },
    );
    return this.#failure;
  }
}

/** Whether nothing is missing of what the client sent. */
function isGood({ cause, error }: ConnectionEnd): boolean {
  return error === undefined && cause !== "lost" && cause !== "timeout";
}

function asBytes(data: RawData): Uint8Array {
  if (typeof data === "string") return Buffer.from(data, "utf8");
  if (data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw new TypeError("Send a string, Uint8Array, ArrayBuffer or DataView.");
}

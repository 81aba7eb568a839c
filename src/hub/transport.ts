import type { TransferFormat } from "../hub-protocol/hub-protocol.js";

/** The ways of a client's bytes, as negotiate spells them. */
export type TransportName = "WebSockets" | "ServerSentEvents" | "LongPolling";

/** Bytes that many connections get; whoever sends them to many keeps the same object. */
export class SharedBytes {
  readonly bytes: Uint8Array;
  readonly format: TransferFormat;
  /** Belongs to the transport, for what it makes of the bytes once and uses for all. */
  prepared: unknown;

  /** @param bytes - Whole messages, not to be changed any more. */
  constructor(bytes: Uint8Array, format: TransferFormat) {
    this.bytes = bytes;
    this.format = format;
  }
}

/** What is known of the request by which a client connected. */
export interface ConnectionRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The query without what the transports put there: no connection token, no access token. */
  readonly query: URLSearchParams;
  readonly path: string;
  readonly remoteAddress: string | undefined;
  /** The framework's own request or context: Koa's `ctx`, Express's `req`, node:http's message. */
  readonly raw: unknown;
}

/** How a connection ended. */
export interface ConnectionEnd {
  /**
   * `lost` is without a closing handshake of whatever kind; `local` is our own doing; `shutdown` and
   * `expired` (its authentication, or its time) are the server's, and the client may connect anew.
   */
  readonly cause: "client" | "lost" | "timeout" | "shutdown" | "expired" | "local";
  readonly error?: Error | undefined;
}

/**
 * What ends a connection, from our side, and how the transport says so:
 * `done` 1000, `error` 1011, `shutdown` 1001; elsewhere the response ends, a poll gets 204.
 */
export type CloseReason = "done" | "error" | "shutdown";

/**
 * One client's connection, whatever carries it; under stateful reconnect it outlives its sockets.
 * Nothing of it throws.
 */
export interface Connection {
  /** Public, 22 characters. */
  readonly id: string;
  readonly transport: TransportName;
  readonly request: ConnectionRequest;
  /** What the application's authentication said of the client; may be replaced by a refresh. */
  readonly user: unknown;
  /** Who `user` is, for sends to users. */
  readonly userId: string | undefined;
  /** Whether the client asked for stateful reconnect and gets it. Clear it to refuse new sockets. */
  allowsReconnect: boolean;
  /** What is sent from now on. Text until the handshake says otherwise. */
  format: TransferFormat;
  /**
   * Sends `bytes[start, end)`, whole messages, in order. They are written or copied before it
   * returns. What is sent while no socket is there is dropped: see {@link ConnectionReceiver.resumed}.
   */
  send(bytes: Uint8Array, start: number, end: number): void;
  /** Sends bytes that others get too. They are kept, not copied. */
  sendShared(message: SharedBytes): void;
  /** Bytes sent that the network, or the next poll, has not taken. */
  readonly bufferedBytes: number;
  /** The option of that name: bytes sent above which whoever sends should wait. */
  readonly transportMaxBufferSize: number;
  /** The option of that name: bytes received above which reading should pause. */
  readonly applicationMaxBufferSize: number;
  /** Stops {@link ConnectionReceiver.receive}, soon; what was read meanwhile still comes. */
  pause(): void;
  resume(): void;
  /** Ends the connection when what was sent has left, within the transport's time limit. */
  close(reason: CloseReason): void;
  /** Ends the connection at once. */
  abort(): void;
}

/** Whoever understands a connection's bytes. What it throws ends the connection, no more. */
export interface ConnectionReceiver {
  /** Bytes came; they are valid during the call only. No boundary in them means anything. */
  receive(bytes: Uint8Array, start: number, end: number): void;
  /** `bufferedBytes` is 0 again after the network did not take at once what was sent. */
  drained(): void;
  /** The socket is lost; within the connection's time limit another may come. */
  interrupted(): void;
  /** A new socket carries the connection; bytes of a message that was cut are never continued. */
  resumed(): void;
  /** `user` and perhaps `userId` are others now. */
  userChanged(): void;
  /**
   * The last call. Of `shutdown` and `expired` it comes before the end: what is sent during the
   * call still leaves.
   */
  closed(end: ConnectionEnd): void;
  /** Resolves when the application is done with the connection; never rejects. */
  readonly done: Promise<void>;
}

/** What a path is mapped to: makes the receiver of each connection when its first request came. */
export interface ConnectionHandler {
  open(connection: Connection): ConnectionReceiver;
}

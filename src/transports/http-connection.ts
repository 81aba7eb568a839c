import { ConnectionClosedError } from "../errors.js";
import type {
  CloseReason,
  Connection,
  ConnectionEnd,
  ConnectionHandler,
  ConnectionReceiver,
  ConnectionRequest,
  SharedBytes,
  TransportName,
} from "../hub/transport.js";
import type { TransferFormat } from "../hub-protocol/hub-protocol.js";
import { log } from "../logger.js";
import type { ResolvedConnectionOptions } from "./options.js";
import { Uploads } from "./uploads.js";

/** What carries a connection for now: a socket, an event stream, or polls and posts. */
export interface Carrier {
  /** As of {@link Connection}. */
  readonly bufferedBytes: number;
  /** Those of them that were given to the network, whose time is limited. */
  readonly unwrittenBytes: number;
  send(bytes: Uint8Array, start: number, end: number): void;
  sendShared(message: SharedBytes): void;
  pause(): void;
  resume(): void;
  /** Ends when what was sent has left, and says so by {@link HttpConnection.carrierEnded}. */
  close(reason: CloseReason): void;
  /** Ends at once, and says nothing more. */
  abort(): void;
}

/** Where connections belong. */
export interface ConnectionOwner {
  readonly options: ResolvedConnectionOptions;
  readonly handler: ConnectionHandler;
  /** The first transport request came. */
  started(connection: HttpConnection): void;
  /** The connection is no more: its token means nothing from now on. */
  ended(connection: HttpConnection): void;
}

/** Who a connection belongs to. */
export interface Principal {
  readonly user: unknown;
  readonly userId: string | undefined;
  /** In milliseconds since 1970. */
  readonly expiresAt: number;
  /** The access token that says so, if one does. */
  readonly token: string | undefined;
}

/**
 * `negotiated`: a token without a request; `open`; `closing`: we have ended it and what was sent
 * still leaves; `ended`.
 */
export type ConnectionState = "negotiated" | "open" | "closing" | "ended";

/** What a new connection is made of. */
export interface ConnectionSeed {
  readonly id: string;
  readonly token: string;
  readonly allowsReconnect: boolean;
  readonly principal: Principal;
  readonly pendingAddress: string | undefined;
}

const noRequest = undefined as unknown as ConnectionRequest;
const noTransport = undefined as unknown as TransportName;

/**
 * A client's connection from negotiate to its end, over whatever carries it.
 *
 * It alone talks to the receiver, and calls `closed` once. A {@link Carrier} moves bytes.
 */
export class HttpConnection implements Connection {
  readonly id: string;
  /** Secret: who has it has the connection. */
  readonly token: string;
  /** Counts against this address until the first request comes. */
  pendingAddress: string | undefined;
  transport: TransportName = noTransport;
  request: ConnectionRequest = noRequest;
  allowsReconnect: boolean;
  format: TransferFormat = "Text";
  state: ConnectionState = "negotiated";
  /** A socket is being accepted for it, so that no second one may be. */
  isStarting = false;
  /** The server that its latest transport request came by, as far as known. */
  server: object | undefined;
  readonly #owner: ConnectionOwner;
  #principal: Principal;
  #carrier: Carrier | undefined;
  #receiver: ConnectionReceiver | undefined;
  #uploads: Uploads | undefined;
  /** How it ended, for a receiver that is just being made. */
  #end: ConnectionEnd | undefined;
  #isTold = false;
  /** How the last socket was lost, should no other come. */
  #lostBy: ConnectionEnd | undefined;
  #isPaused = false;
  /** Since when no request carries it; `undefined` while one does. */
  #inactiveSince: number | undefined = performance.now();
  readonly #createdAt = performance.now();
  #bytesReceived = 0;
  #bytesSent = 0;
  /** The counts when they last were others, and when that was. */
  #countsSeen = 0;
  #countsSeenAt = 0;
  /** When the oldest unwritten byte was seen, and what was sent in all by then. */
  #stalledAt: number | undefined;
  #sentWhenStalled = 0;
  #whenEnded: (() => void)[] | undefined;

  constructor(owner: ConnectionOwner, seed: ConnectionSeed) {
    this.#owner = owner;
    this.id = seed.id;
    this.token = seed.token;
    this.allowsReconnect = seed.allowsReconnect;
    this.#principal = seed.principal;
    this.pendingAddress = seed.pendingAddress;
  }

  // --- for the receiver ---

  get user(): unknown {
    return this.#principal.user;
  }

  get userId(): string | undefined {
    return this.#principal.userId;
  }

  get bufferedBytes(): number {
    return this.#carrier?.bufferedBytes ?? 0;
  }

  get transportMaxBufferSize(): number {
    return this.#owner.options.transportMaxBufferSize;
  }

  get applicationMaxBufferSize(): number {
    return this.#owner.options.applicationMaxBufferSize;
  }

  send(bytes: Uint8Array, start: number, end: number): void {
    this.#bytesSent += end - start;
    this.#carrier?.send(bytes, start, end);
  }

  sendShared(message: SharedBytes): void {
    this.#bytesSent += message.bytes.length;
    this.#carrier?.sendShared(message);
  }

  pause(): void {
    this.#isPaused = true;
    this.#carrier?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#uploads === undefined) this.#carrier?.resume();
    else this.#uploads.resume();
  }

  close(reason: CloseReason): void {
    if (this.state !== "open" && this.state !== "negotiated") return;
    this.#close(reason, { cause: "local" });
  }

  abort(): void {
    this.#abort({ cause: "local" });
  }

  // --- for transports ---

  get options(): ResolvedConnectionOptions {
    return this.#owner.options;
  }

  get principal(): Principal {
    return this.#principal;
  }

  get carrier(): Carrier | undefined {
    return this.#carrier;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The way in for POSTs. */
  get uploads(): Uploads {
    this.#uploads ??= new Uploads(this);
    return this.#uploads;
  }

  /** The application's side of it is done; resolved where there never was one. */
  get done(): Promise<void> {
    return this.#receiver?.done ?? Promise.resolve();
  }

  /** Decides what carries it, with the first transport request, and gives it to the application. */
  start(transport: TransportName, request: ConnectionRequest, carrier: Carrier): void {
    this.transport = transport;
    this.request = request;
    this.#carrier = carrier;
    this.state = "open";
    this.#inactiveSince = undefined;
    this.#countsSeenAt = performance.now();
    if (transport !== "WebSockets") this.allowsReconnect = false;
    else this.#uploads?.end();
    this.#owner.started(this);
    let receiver: ConnectionReceiver;
    try {
      receiver = this.#owner.handler.open(this);
    } catch (error) {
      this.#log("error", "a connection's handler threw", error);
      this.#isTold = true;
      this.#close("error", { cause: "local", error: asError(error) });
      return;
    }
    this.#receiver = receiver;
    if (this.#end !== undefined) this.#tell(this.#end);
    else if (!this.#isPaused) this.#uploads?.resume();
  }

  /**
   * A new socket carries the connection from now on. What held it before is ended; only the newest
   * counts, so that of several that race the last one has it.
   */
  carryOver(carrier: Carrier): void {
    const old = this.#carrier;
    this.#carrier = carrier;
    this.#inactiveSince = undefined;
    this.#stalledAt = undefined;
    if (old !== undefined) {
      old.close("done");
      this.#call((receiver) => receiver.interrupted());
    }
    if (this.#carrier !== carrier || this.state !== "open") return;
    if (this.#isPaused) carrier.pause();
    this.#call((receiver) => receiver.resumed());
  }

  /** Bytes came in. What the receiver throws ends the connection. */
  received(bytes: Uint8Array, start: number, end: number): void {
    this.#bytesReceived += end - start;
    if (this.state !== "open") return;
    try {
      this.#receiver?.receive(bytes, start, end);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Everything sent has left. */
  drained(): void {
    this.#call((receiver) => receiver.drained());
  }

  /** A request carries it now, or none does any more. */
  setActive(isActive: boolean): void {
    this.#inactiveSince = isActive ? undefined : performance.now();
  }

  /**
   * A carrier has ended by itself, by its client or by our close. One that was replaced counts no
   * more.
   */
  carrierEnded(carrier: Carrier, end: ConnectionEnd): void {
    if (carrier !== this.#carrier) return;
    if (this.state === "open" && this.allowsReconnect && mayComeBack(end)) {
      this.#carrier = undefined;
      this.setActive(false);
      this.#lostBy = end;
      this.#call((receiver) => receiver.interrupted());
      return;
    }
    this.#finish(this.state === "closing" ? { cause: "local" } : end);
  }

  /** Replaces who it belongs to. @param isNews - Whether the receiver has to know. */
  setPrincipal(principal: Principal, isNews: boolean): void {
    this.#principal = principal;
    if (isNews) this.#call((receiver) => receiver.userChanged());
  }

  /** Resolves when the connection is no more. */
  whenEnded(): Promise<void> {
    if (this.state === "ended") return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEnded ??= [];
      this.#whenEnded.push(resolve);
    });
  }

  /** Ends the connection at once, for a reason that the receiver gets to know. */
  endAtOnce(end: ConnectionEnd): void {
    this.#abort(end);
  }

  /** The client has said good-bye, by whatever the transport has for it. */
  endByClient(): void {
    this.#finish({ cause: "client" });
  }

  /**
   * Ends it for a reason of the server's: the receiver is told first, and what it sends on that
   * occasion still leaves.
   */
  retire(cause: "shutdown" | "expired"): void {
    if (this.state === "ended" || this.state === "closing") return;
    this.#close(cause === "shutdown" ? "shutdown" : "done", { cause });
  }

  /** Looks at every time limit. @param now - `performance.now()`. */
  onBeat(now: number): void {
    const { options } = this.#owner;
    if (this.#inactiveSince !== undefined) {
      if (now - this.#inactiveSince < options.disconnectTimeout) return;
      if (this.state === "closing") this.#finish({ cause: "local" });
      else this.#finish(this.#lostBy ?? { cause: "timeout" });
      return;
    }
    this.#uploads?.onBeat(now);
    this.#checkSendTime(now);
    if (this.state !== "open") return;
    if (options.closeOnAuthenticationExpiration && Date.now() >= this.#principal.expiresAt) {
      this.#log("info", "a connection's authentication has expired");
      this.retire("expired");
    } else if (now - this.#createdAt >= options.maxLifetime) {
      this.retire("expired");
    } else if (options.idleTimeout !== Number.POSITIVE_INFINITY) {
      const counts = this.#bytesReceived + this.#bytesSent;
      if (counts !== this.#countsSeen) {
        this.#countsSeen = counts;
        this.#countsSeenAt = now;
      } else if (now - this.#countsSeenAt >= options.idleTimeout) {
        this.retire("expired");
      }
    }
  }

  // --- inside ---

  /** What waited at a beat must have left by the time limit later, or nobody reads. */
  #checkSendTime(now: number): void {
    const unwritten = this.#carrier?.unwrittenBytes ?? 0;
    if (unwritten === 0) {
      this.#stalledAt = undefined;
    } else if (
      this.#stalledAt === undefined ||
      unwritten <= this.#bytesSent - this.#sentWhenStalled
    ) {
      this.#stalledAt = now;
      this.#sentWhenStalled = this.#bytesSent;
    } else if (now - this.#stalledAt >= this.#owner.options.transportSendTimeout) {
      const error = new ConnectionClosedError(
        "ERR_TRANSPORT_SEND_TIMEOUT",
        `The client did not take what was sent within ${this.#owner.options.transportSendTimeout} ms.`,
      );
      this.#log("warn", "a client that does not read was cut off", error);
      this.#abort({ cause: "timeout", error });
    }
  }

  #fail(thrown: unknown): void {
    this.#log("error", "a connection's receiver threw", thrown);
    this.#close("error", { cause: "local", error: asError(thrown) });
  }

  /** Ends it from our side. The receiver is told at once where the carrier would only say "local". */
  #close(reason: CloseReason, end: ConnectionEnd): void {
    if (this.state === "ended" || this.state === "closing") return;
    const carrier = this.#carrier;
    this.allowsReconnect = false;
    if (carrier === undefined) {
      this.#finish(end);
      return;
    }
    this.state = "closing";
    this.#uploads?.discard();
    if (end.cause !== "local" || end.error !== undefined) this.#tell(end);
    carrier.close(reason);
  }

  #abort(end: ConnectionEnd): void {
    if (this.state === "ended") return;
    const carrier = this.#carrier;
    this.#finish(end);
    carrier?.abort();
  }

  #finish(end: ConnectionEnd): void {
    if (this.state === "ended") return;
    this.state = "ended";
    this.allowsReconnect = false;
    this.#carrier = undefined;
    this.#uploads?.end();
    this.#owner.ended(this);
    this.#tell(end);
    const waiting = this.#whenEnded;
    this.#whenEnded = undefined;
    for (const resolve of waiting ?? []) resolve();
  }

  #tell(end: ConnectionEnd): void {
    if (this.#isTold) return;
    if (this.#receiver === undefined) {
      this.#end = end;
      return;
    }
    this.#isTold = true;
    try {
      this.#receiver.closed(end);
    } catch (error) {
      this.#log("error", "a connection's receiver threw", error);
    }
  }

  #call(use: (receiver: ConnectionReceiver) => void): void {
    if (this.#receiver === undefined || this.#isTold) return;
    try {
      use(this.#receiver);
    } catch (error) {
      this.#fail(error);
    }
  }

  #log(level: "info" | "warn" | "error", message: string, error?: unknown): void {
    const details = { connectionId: this.id, ...(error !== undefined && { error }) };
    log(this.#owner.options.logger, level, message, details);
  }
}

/** Whether the end of a socket is one that a client may not know of, or not have wanted. */
function mayComeBack({ cause, error }: ConnectionEnd): boolean {
  return cause === "lost" || (cause === "timeout" && error !== undefined);
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error("The handler threw no Error.");
}

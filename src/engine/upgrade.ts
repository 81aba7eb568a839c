import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Http2SecureServer, Http2Server } from "node:http2";
import type { Duplex } from "node:stream";
import { HandshakeError } from "../errors.js";
import { defaultLogger, type Logger, log } from "../logger.js";
import { CloseCode } from "../protocol/close.js";
import { type Beating, startBeat, stopBeat } from "./heartbeat.js";
import { Http1Upgrades } from "./http1-upgrade.js";
import { Http2Upgrades, isHttp2Server } from "./http2-upgrade.js";
import { integer } from "./options.js";
import {
  forgetPendingUpgrade,
  type PendingUpgrade,
  pendingUpgradeOf,
  refuse,
  setPendingUpgrade,
} from "./pending-upgrade.js";
import type { WebSocketConnection } from "./web-socket-connection.js";

/** Options of {@link handleUpgrades}. */
export interface UpgradeOptions {
  /**
   * Whether a request that asks for a WebSocket is ours; for a server that other WebSocket code
   * shares, typically by path. Must answer at once. Default: every one is.
   */
  readonly accepts?: (request: IncomingMessage) => boolean;
  /** Sockets open at a time; more get 503. Default `Infinity`. */
  readonly maxConnections?: number;
  /**
   * Time from the request until the handler has accepted or refused it, in milliseconds; then the
   * answer is 503. Default 30 000.
   */
  readonly handshakeTimeout?: number;
  /** Time the peers have to close when the server closes, in milliseconds. Default 10 000. */
  readonly shutdownTimeout?: number;
  /**
   * HTTP/2: streams that one connection may have open, ordinary requests among them; the setting
   * SETTINGS_MAX_CONCURRENT_STREAMS. Default: what the server was created with, else 1000.
   */
  readonly maxStreamsPerConnection?: number;
  /**
   * HTTP/2: requests for a WebSocket that one connection may take back within ten seconds, by
   * RST_STREAM less than a second after the request; with more it is ended with ENHANCE_YOUR_CALM.
   * Node's own limit, a burst of 1000 and 33 a second, counts resets of every kind. Default 200.
   */
  readonly maxResetsPerConnection?: number;
  /** Where log lines go. Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

/** A server that {@link handleUpgrades} takes, of node:http, node:https or node:http2. */
export type UpgradableServer = Server | Http2Server | Http2SecureServer;

const longestTime = 2 ** 31 - 1;

const upgradesOf = new WeakMap<UpgradableServer, Upgrades>();

/**
 * Sends every request for a WebSocket through the server's ordinary request handler, whatever
 * framework that is, with a response that can still be refused or accepted.
 *
 * A server of node:http2 gets the setting that lets clients ask (RFC 8441 §3); one that is secure
 * and has `allowHTTP1` serves both kinds. Its `connections` to come have it: call this before it
 * listens, or in the same turn.
 *
 * `server.close()` then closes the sockets too, with 1001. Requests to upgrade to anything else go
 * to their own `upgrade` listener (`connect` for HTTP/2), or, where there is none, are handled like
 * ordinary requests (501 for HTTP/2). To call it again for the same server changes nothing.
 *
 * @param server - A server of node:http, node:https or node:http2, listening or not.
 * @example handleUpgrades(app.listen(5000));
 * @throws RangeError for an option that is out of range.
 */
export function handleUpgrades(server: UpgradableServer, options: UpgradeOptions = {}): Upgrades {
  let upgrades = upgradesOf.get(server);
  if (upgrades === undefined) {
    upgrades = new Upgrades(server, options);
    upgradesOf.set(server, upgrades);
  }
  return upgrades;
}

/** What {@link handleUpgrades} returned for a server; `undefined` where it was not called. */
export function upgradesFor(server: UpgradableServer): Upgrades | undefined {
  return upgradesOf.get(server);
}

/** The sockets of one server. */
export class Upgrades {
  readonly #server: UpgradableServer;
  readonly #accepts: (request: IncomingMessage) => boolean;
  readonly #maxConnections: number;
  readonly #handshakeTimeout: number;
  readonly #shutdownTimeout: number;
  readonly #logger: Logger;
  readonly #connections = new Set<WebSocketConnection>();
  readonly #beforeClose: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  /** @internal Use {@link handleUpgrades}. */
  constructor(server: UpgradableServer, options: UpgradeOptions) {
    const {
      maxConnections = Number.POSITIVE_INFINITY,
      maxStreamsPerConnection,
      maxResetsPerConnection = 200,
    } = options;
    this.#server = server;
    this.#accepts = options.accepts ?? (() => true);
    this.#maxConnections =
      maxConnections === Number.POSITIVE_INFINITY
        ? maxConnections
        : integer("maxConnections", maxConnections, Number.MAX_SAFE_INTEGER);
    this.#handshakeTimeout = integer(
      "handshakeTimeout",
      options.handshakeTimeout ?? 30_000,
      longestTime,
    );
    this.#shutdownTimeout = integer(
      "shutdownTimeout",
      options.shutdownTimeout ?? 10_000,
      longestTime,
    );
    const limits = {
      maxStreams:
        maxStreamsPerConnection === undefined
          ? undefined
          : integer("maxStreamsPerConnection", maxStreamsPerConnection, 2 ** 32 - 1),
      maxResets: integer("maxResetsPerConnection", maxResetsPerConnection, Number.MAX_SAFE_INTEGER),
    };
    this.#logger = options.logger ?? defaultLogger;
    const host = {
      handshakeTimeout: this.#handshakeTimeout,
      logger: this.#logger,
      isOurs: (request: IncomingMessage) => this.#isOurs(request),
      checkRoom: () => this.#checkRoom(),
      add: this.#add.bind(this),
      handle: this.#handle.bind(this),
    };
    // A secure server of HTTP/2 with `allowHTTP1` has the events of one of node:https too.
    new Http1Upgrades(server as Server, host);
    const http2 = isHttp2Server(server) ? new Http2Upgrades(server, host, limits) : undefined;
    server.on("listening", () => {
      this.#closing = undefined;
    });
    // `close` of a server waits for upgraded sockets without telling them, so they are told here.
    const close = server.close as (callback?: (error?: Error) => void) => never;
    server.close = (callback) => {
      void this.close();
      http2?.closeSessions();
      return close.call(server, callback);
    };
  }

  /** The sockets that are open now. */
  get connections(): ReadonlySet<WebSocketConnection> {
    return this.#connections;
  }

  /**
   * Accepts no more sockets and closes those that are open with 1001. `server.close()` calls it.
   *
   * @returns Resolves when all are gone; those that take longer than `shutdownTimeout` are aborted.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  /**
   * @internal Has `tell` called when closing begins, before any socket is closed; it may close some
   * by itself. What it returns is waited for, within `shutdownTimeout`.
   */
  beforeClose(tell: () => Promise<void>): void {
    this.#beforeClose.push(tell);
  }

  async #closeAll(): Promise<void> {
    const told = Promise.all(this.#beforeClose.map((tell) => tell()));
    const connections = [...this.#connections];
    const gone = connections.map((connection) => connection.whenGone());
    for (const connection of connections) {
      void connection.close(CloseCode.goingAway, "server shutting down", {
        timeout: this.#shutdownTimeout,
      });
    }
    let timer: NodeJS.Timeout | undefined;
    const timeIsOver = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        for (const connection of connections) connection.abort();
        resolve();
      }, this.#shutdownTimeout);
    });
    await Promise.race([told, timeIsOver]);
    await Promise.all(gone);
    clearTimeout(timer);
  }

  #isOurs(request: IncomingMessage): boolean {
    try {
      return this.#accepts(request);
    } catch (error) {
      log(this.#logger, "error", "the predicate `accepts` threw; the request is left alone", {
        error,
      });
      return false;
    }
  }

  #checkRoom(): void {
    if (this.#closing === undefined && this.#connections.size < this.#maxConnections) return;
    throw new HandshakeError(
      "ERR_SERVER_UNAVAILABLE",
      this.#closing ? "The server is shutting down." : "The server has too many sockets open.",
      503,
    );
  }

  #add(connection: WebSocketConnection, request: IncomingMessage): WebSocketConnection {
    connection.joinUntilGone(this.#connections);
    pendingUpgradeOf(request)?.deadline?.end();
    // What the handshake needed, its bytes among it, does not live as long as the request.
    forgetPendingUpgrade(request);
    return connection;
  }

  #handle(
    request: IncomingMessage,
    response: ServerResponse,
    transport: Duplex,
    pending: PendingUpgrade,
  ): void {
    setPendingUpgrade(request, pending);
    this.#guard(transport, () => this.#server.emit("request", request, response));
    const isAccepted = pendingUpgradeOf(request) === undefined;
    if (isAccepted || transport.destroyed) return;
    pending.deadline = new Undecided(response, transport, this.#handshakeTimeout, () =>
      this.#onLate(response, transport),
    );
  }

  #onLate(response: ServerResponse, transport: Duplex): void {
    if (response.headersSent) {
      // A refusal that the peer does not take; Node 20 also forgets one that was reset meanwhile.
      if (response.writableEnded) transport.destroy();
      return;
    }
    log(
      this.#logger,
      "warn",
      "a request for a WebSocket was neither accepted nor refused in time",
      {
        timeout: this.#handshakeTimeout,
      },
    );
    const refusal = new HandshakeError("ERR_HANDSHAKE_TIMEOUT", "The server is too slow.", 503);
    this.#guard(transport, () => refuse(response, refusal));
  }

  /** Runs code of the application's (a listener, a hook into the response) that must not end us. */
  #guard(transport: Duplex, run: () => void): void {
    try {
      run();
    } catch (error) {
      log(this.#logger, "error", "the handling of a request for a WebSocket threw", { error });
      transport.destroy();
    }
  }
}

/**
 * The deadline of a request that its handler did not accept at once, as most do: those cost no
 * timer and no listener. The others share one timer; it is looked at four times in the time limit.
 */
class Undecided implements Beating {
  readonly #response: ServerResponse;
  readonly #transport: Duplex;
  readonly #deadline: number;
  readonly #period: number;
  readonly #onLate: () => void;
  readonly #onOver = () => this.end();

  constructor(response: ServerResponse, transport: Duplex, timeout: number, onLate: () => void) {
    this.#response = response;
    this.#transport = transport;
    this.#deadline = performance.now() + timeout;
    this.#period = Math.max(1, Math.floor(timeout / 4));
    this.#onLate = onLate;
    response.on("finish", this.#onOver);
    transport.on("close", this.#onOver);
    startBeat(this, this.#period);
  }

  onBeat(now: number): void {
    if (now < this.#deadline) return;
    stopBeat(this, this.#period);
    this.#onLate();
  }

  end(): void {
    stopBeat(this, this.#period);
    this.#response.off("finish", this.#onOver);
    this.#transport.off("close", this.#onOver);
  }
}

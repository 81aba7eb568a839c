import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { HandshakeError } from "../errors.js";
import { CloseCode } from "../protocol/close.js";
import { asksForWebSocket } from "../protocol/handshake.js";
import { parseList } from "../protocol/headers.js";
import { defaultLogger, type Logger, log } from "./logger.js";
import { integer } from "./options.js";
import { type ConnectionSetup, WebSocketConnection } from "./web-socket-connection.js";

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
  /** Where log lines go. Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

/** What became of a request between the `upgrade` event and the handler's answer. */
export interface PendingUpgrade {
  /**
   * Sends the 101 with what the middleware has set, and makes the connection.
   *
   * @throws HandshakeError 503 while the server closes or has no room.
   */
  accept(
    headers: Readonly<Record<string, string>>,
    setup: Omit<ConnectionSetup, "head">,
  ): WebSocketConnection;
}

/** Time a refused peer has to end TCP, in milliseconds, unless `handshakeTimeout` is shorter. */
const lingerTime = 5_000;
/** Strings, a name and a value per header, beyond which Node's parser drops what comes. */
const defaultRawHeaders = 2000;

const ignoreError = () => {};

/** Node 22.23, 24.9 and later ask whether to take a request for an upgrade, before its body. */
interface AskingServer {
  shouldUpgradeCallback?: (request: IncomingMessage) => boolean;
}

const pendingUpgrades = new WeakMap<IncomingMessage, PendingUpgrade>();
const upgradesOf = new WeakMap<Server, Upgrades>();

/** The upgrade that `request` belongs to; `undefined` for an ordinary request. */
export function pendingUpgradeOf(request: IncomingMessage): PendingUpgrade | undefined {
  return pendingUpgrades.get(request);
}

/**
 * Sends every request for a WebSocket through the server's ordinary request handler, whatever
 * framework that is, with a response that can still be refused or accepted.
 *
 * `server.close()` then closes the sockets too, with 1001. Requests to upgrade to anything else go
 * to their own `upgrade` listener, or, where there is none, are handled like ordinary requests.
 * To call it again for the same server changes nothing.
 *
 * @param server - A server of node:http or node:https, listening or not.
 * @example handleUpgrades(app.listen(5000));
 * @throws RangeError for an option that is out of range.
 */
export function handleUpgrades(server: Server, options: UpgradeOptions = {}): Upgrades {
  let upgrades = upgradesOf.get(server);
  if (upgrades === undefined) {
    upgrades = new Upgrades(server, options);
    upgradesOf.set(server, upgrades);
  }
  return upgrades;
}

/** The sockets of one server. */
export class Upgrades {
  readonly #server: Server;
  readonly #accepts: (request: IncomingMessage) => boolean;
  readonly #maxConnections: number;
  readonly #handshakeTimeout: number;
  readonly #shutdownTimeout: number;
  readonly #logger: Logger;
  readonly #connections = new Set<WebSocketConnection>();
  readonly #decisions = new WeakMap<IncomingMessage, boolean>();
  #closing: Promise<void> | undefined;

  /** @internal Use {@link handleUpgrades}. */
  constructor(server: Server, options: UpgradeOptions) {
    const { maxConnections = Number.POSITIVE_INFINITY } = options;
    const longestTime = 2 ** 31 - 1;
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
    this.#logger = options.logger ?? defaultLogger;
    server.on("upgrade", (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#answerWhetherToUpgrade(server);
    server.on("listening", () => {
      this.#closing = undefined;
    });
    // `close` of a server waits for upgraded sockets without telling them, so they are told here.
    const close = server.close;
    server.close = (callback) => {
      void this.close();
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

  async #closeAll(): Promise<void> {
    const connections = [...this.#connections];
    const gone = connections.map((connection) => connection.whenGone());
    for (const connection of connections) {
      void connection.close(CloseCode.goingAway, "server shutting down", {
        timeout: this.#shutdownTimeout,
      });
    }
    const timer = setTimeout(() => {
      for (const connection of connections) connection.abort();
    }, this.#shutdownTimeout);
    await Promise.all(gone);
    clearTimeout(timer);
  }

  /**
   * Where Node asks, what nobody takes is an ordinary request from the start. That spares the
   * replay, which could not work there: these versions give a body to `request`, not to `head`.
   */
  #answerWhetherToUpgrade(server: Server & AskingServer): void {
    const others = server.shouldUpgradeCallback;
    if (others === undefined) return;
    server.shouldUpgradeCallback = (request) => {
      if (this.#isOurs(request)) return true;
      if (server.listenerCount("upgrade") > 1) return others.call(server, request);
      delete request.headers.upgrade;
      return false;
    };
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Node has taken its own listeners off; without one an error would end the process.
    if (!socket.listeners("error").includes(ignoreError)) socket.on("error", ignoreError);
    if (this.#isOurs(request)) {
      this.#serve(request, socket, head);
    } else if (this.#server.listenerCount("upgrade") === 1) {
      this.#replay(request, socket, head);
    }
  }

  #isOurs(request: IncomingMessage): boolean {
    let isOurs = this.#decisions.get(request);
    if (isOurs === undefined) {
      isOurs = asksForWebSocket(request) && this.#isAccepted(request);
      this.#decisions.set(request, isOurs);
    }
    return isOurs;
  }

  #isAccepted(request: IncomingMessage): boolean {
    try {
      return this.#accepts(request);
    } catch (error) {
      log(this.#logger, "error", "the predicate `accepts` threw; the request is left alone", {
        error,
      });
      return false;
    }
  }

  /** Runs the ordinary handler with a response that leads to this socket. */
  #serve(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const response = new ServerResponse(request);
    // The parser is gone from this socket, so a refusal is the last thing on it.
    response.shouldKeepAlive = false;
    // A ServerResponse needs of a socket what every Duplex has.
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    let isAccepted = false;
    response.on("finish", () => {
      clearTimeout(timer);
      if (isAccepted) return;
      socket.end();
      // What the peer still sends would keep the socket from closing, as would a peer that stays.
      socket.resume();
      const linger = setTimeout(
        () => socket.destroy(),
        Math.min(lingerTime, this.#handshakeTimeout),
      );
      socket.on("close", () => clearTimeout(linger));
    });
    const timer = setTimeout(() => {
      if (response.headersSent) return;
      log(
        this.#logger,
        "warn",
        "a request for a WebSocket was neither accepted nor refused in time",
        {
          timeout: this.#handshakeTimeout,
        },
      );
      refuse(response, new HandshakeError("ERR_HANDSHAKE_TIMEOUT", "The server is too slow.", 503));
    }, this.#handshakeTimeout);
    socket.on("close", () => clearTimeout(timer));

    pendingUpgrades.set(request, {
      accept: (headers, setup) => {
        if (this.#closing !== undefined || this.#connections.size >= this.#maxConnections) {
          throw new HandshakeError(
            "ERR_SERVER_UNAVAILABLE",
            this.#closing
              ? "The server is shutting down."
              : "The server has too many sockets open.",
            503,
          );
        }
        // These describe a body, and a 101 has none.
        response.removeHeader("Content-Length");
        response.removeHeader("Transfer-Encoding");
        // The reason is named because middleware may have set that of another status.
        response.writeHead(101, "Switching Protocols", headers);
        response.flushHeaders();
        clearTimeout(timer);
        isAccepted = true;
        response.detachSocket(socket as Parameters<ServerResponse["detachSocket"]>[0]);
        const connection = new WebSocketConnection(socket, { ...setup, head });
        this.#connections.add(connection);
        void connection.whenGone().then(() => this.#connections.delete(connection));
        return connection;
      },
    });
    this.#server.emit("request", request, response);
  }

  /**
   * Gives the connection back to node:http, its request without the Upgrade that nobody takes: RFC
   * 9110 §7.8 lets a server ignore it. So `Upgrade: h2c`, which some clients send with everything,
   * keeps its body and its keep-alive.
   */
  #replay(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { rawHeaders } = request;
    const { maxHeadersCount } = this.#server;
    const kept = typeof maxHeadersCount === "number" ? 2 * maxHeadersCount : defaultRawHeaders;
    if (kept > 0 && rawHeaders.length >= kept) {
      // Without a dropped Content-Length the body would be taken for the next request.
      socket.end("HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n");
      socket.on("finish", () => socket.destroy());
      return;
    }
    const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index] as string;
      const value = rawHeaders[index + 1] as string;
      if (name.toLowerCase() === "upgrade") continue;
      if (name.toLowerCase() !== "connection") {
        lines.push(`${name}: ${value}`);
        continue;
      }
      const rest = parseList(value).filter((option) => option.toLowerCase() !== "upgrade");
      if (rest.length > 0) lines.push(`${name}: ${rest.join(", ")}`);
    }
    socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]));
    this.#server.emit("encrypted" in socket ? "secureConnection" : "connection", socket);
  }
}

/** Answers a request for a WebSocket with an ordinary refusal, if nothing was sent yet. */
export function refuse(response: ServerResponse, error: HandshakeError): void {
  if (response.headersSent) return;
  const body = `${error.message}\n`;
  for (const name of response.getHeaderNames()) {
    if (name.startsWith("content-") || name === "transfer-encoding") response.removeHeader(name);
  }
  response.writeHead(error.status, {
    ...error.headers,
    Connection: "Upgrade" in error.headers ? "Upgrade, close" : "close",
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}

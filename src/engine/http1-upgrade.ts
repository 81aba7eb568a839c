import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { asksForWebSocket } from "../protocol/handshake.js";
import { parseList } from "../protocol/headers.js";
import type { RequestHead } from "../protocol/request-head.js";
import { Http1Shortcut, ignoreError, stopFlow } from "./http1-shortcut.js";
import { type PendingUpgrade, pendingUpgradeOf, type UpgradeHost } from "./pending-upgrade.js";
import { WebSocketConnection } from "./web-socket-connection.js";

/** Time a refused peer has to end TCP, in milliseconds, unless `handshakeTimeout` is shorter. */
const lingerTime = 5_000;
/** Strings, a name and a value per header, beyond which Node's parser drops what comes. */
const defaultRawHeaders = 2000;

/** Node 22.23, 24.9 and later ask whether to take a request for an upgrade, before its body. */
interface AskingServer {
  shouldUpgradeCallback?: (request: IncomingMessage) => boolean;
}

/**
 * The way in over HTTP/1.1: the `upgrade` event.
 *
 * @see RFC 6455 §4
 */
export class Http1Upgrades {
  readonly #server: Server;
  readonly #host: UpgradeHost;
  readonly #decisions = new WeakMap<IncomingMessage, boolean>();
  /** Connections whose first request was declined before node:http has read it. */
  readonly #declined = new WeakSet<Duplex>();
  readonly #shortcut: Http1Shortcut | undefined;
  #whetherToUpgrade: AskingServer["shouldUpgradeCallback"];

  constructor(server: Server, host: UpgradeHost) {
    this.#server = server;
    this.#host = host;
    server.on("upgrade", (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#answerWhetherToUpgrade(server);
    this.#shortcut = Http1Shortcut.applyTo(server, {
      isOurs: (request) => this.#isOursEarly(request),
      serve: this.#onEarlyRequest.bind(this),
    });
  }

  /**
   * Where Node asks, what nobody takes is an ordinary request from the start. That spares the
   * replay, which could not work there: these versions give a body to `request`, not to `head`.
   */
  #answerWhetherToUpgrade(server: Server & AskingServer): void {
    const others = server.shouldUpgradeCallback;
    if (others === undefined) return;
    this.#whetherToUpgrade = (request) => {
      if (this.#isOurs(request)) return true;
      if (server.listenerCount("upgrade") > 1) return others.call(server, request);
      delete request.headers.upgrade;
      return false;
    };
    server.shouldUpgradeCallback = this.#whetherToUpgrade;
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Node has taken its own listeners off; without one an error would end the process.
    if (!socket.listeners("error").includes(ignoreError)) socket.on("error", ignoreError);
    const isOurs = this.#isOurs(request);
    this.#decisions.delete(request);
    if (isOurs) {
      this.#shortcut?.noteWebSocket();
      this.#serve(request, socket, head);
    } else if (this.#server.listenerCount("upgrade") === 1) {
      this.#replay(request, socket, head);
    }
  }

  #isOurs(request: IncomingMessage): boolean {
    let isOurs = this.#decisions.get(request);
    if (isOurs === undefined) {
      const wasDeclined = this.#declined.delete(request.socket);
      isOurs = !wasDeclined && asksForWebSocket(request) && this.#host.isOurs(request);
      this.#decisions.set(request, isOurs);
    }
    return isOurs;
  }

  /** For a request that surely asks for a WebSocket. The predicate is asked once, whoever asks it. */
  #isOursEarly(request: IncomingMessage): boolean {
    const { shouldUpgradeCallback } = this.#server as AskingServer;
    // Who has put another in our place decides.
    if (shouldUpgradeCallback !== this.#whetherToUpgrade) return false;
    const isOurs = this.#host.isOurs(request);
    if (!isOurs) this.#declined.add(request.socket);
    return isOurs;
  }

  #onEarlyRequest(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    parsed: RequestHead,
  ): void {
    if (this.#server.listenerCount("upgrade") === 1) {
      this.#serve(request, socket, head, parsed);
      if (pendingUpgradeOf(request) === undefined) return;
      socket.on("error", ignoreError);
      stopFlow(socket);
    } else {
      stopFlow(socket);
      this.#decisions.set(request, true);
      this.#server.emit("upgrade", request, socket, head);
    }
  }

  /** Runs the ordinary handler with a response that leads to this socket. */
  #serve(request: IncomingMessage, socket: Duplex, head: Buffer, parsed?: RequestHead): void {
    const host = this.#host;
    const response = new ServerResponse(request);
    // The parser is gone from this socket, so a refusal is the last thing on it.
    response.shouldKeepAlive = false;
    // A ServerResponse needs of a socket what every Duplex has.
    response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
    const onRefused = () => {
      socket.end();
      // What the peer still sends would keep the socket from closing, as would a peer that stays.
      socket.resume();
      const linger = setTimeout(
        () => socket.destroy(),
        Math.min(lingerTime, host.handshakeTimeout),
      );
      socket.on("close", () => clearTimeout(linger));
    };
    const accept: PendingUpgrade["accept"] = (headers, setup) => {
      host.checkRoom();
      // These describe a body, and a 101 has none.
      response.removeHeader("Content-Length");
      response.removeHeader("Transfer-Encoding");
      // The reason is named because middleware may have set that of another status.
      response.writeHead(101, "Switching Protocols", headers);
      const answer = takeHead(response);
      response.off("finish", onRefused);
      response.detachSocket(socket as Parameters<ServerResponse["detachSocket"]>[0]);
      socket.off("error", ignoreError);
      const { role, subprotocol, deflate, options } = setup;
      const connection = new WebSocketConnection(socket, {
        role,
        subprotocol,
        deflate,
        options,
        answer,
        head,
      });
      return host.add(connection, request);
    };
    host.handle(request, response, socket, { accept, parsed, deadline: undefined });
    // Only now, since most are accepted at once; what was refused meanwhile has not finished yet.
    if (pendingUpgradeOf(request) !== undefined) response.on("finish", onRefused);
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

/** What node:http keeps in a response for the time between `writeHead` and the first write. */
interface ResponseInternals {
  _header?: string | null;
  _headerSent?: boolean;
}

/**
 * Takes the head that `writeHead` has made out of the response, for the connection to write: past
 * the stream where it can. Where this Node keeps it elsewhere, the response sends it itself.
 */
function takeHead(response: ServerResponse & ResponseInternals): Buffer | undefined {
  if (typeof response._header !== "string" || response._headerSent !== false) {
    response.flushHeaders();
    return undefined;
  }
  response._headerSent = true;
  return Buffer.from(response._header, "latin1");
}

import type { IncomingMessage, ServerResponse } from "node:http";
import { ConnectionClosedError, HandshakeError, InvalidStateError } from "../errors.js";
import { log } from "../logger.js";
import { acceptDeflate } from "../protocol/deflate-offer.js";
import {
  acceptHeaders,
  asksForWebSocket,
  checkHandshake,
  type HandshakeRequest,
  offeredSubprotocols,
} from "../protocol/handshake.js";
import { deflateWishes } from "./deflate.js";
import { type ResolvedSocketOptions, resolveSocketOptions, type SocketOptions } from "./options.js";
import { handshakeOf, isHttp2, pendingUpgradeOf, refuse } from "./pending-upgrade.js";

import type { WebSocketConnection } from "./web-socket-connection.js";

/** Options of one `accept`; what is left out is as the middleware was told. */
export interface AcceptOptions extends SocketOptions {
  /** The subprotocol to answer with; one that the request offered. Default: none. */
  readonly subprotocol?: string;
}

/** What a manager asks of the framework its request runs in. */
export interface ManagerHooks {
  /** Called before the engine itself writes to the response: the framework must not any more. */
  takeOver?(): void;
}

/** A request's WebSocket side: `ctx.webSockets`, `request.webSockets`, `c.var.webSockets`. */
export class WebSocketManager {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #options: ResolvedSocketOptions;
  readonly #hooks: ManagerHooks;
  #connection: WebSocketConnection | undefined;
  #refusal: HandshakeError | ConnectionClosedError | undefined;

  /** @internal Made by the middleware. */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    options: ResolvedSocketOptions,
    hooks: ManagerHooks,
  ) {
    this.#request = request;
    this.#response = response;
    this.#options = options;
    this.#hooks = hooks;
  }

  /** Whether the request asks for a WebSocket. `accept()` refuses one that does so wrongly. */
  get isWebSocketRequest(): boolean {
    return asksForWebSocket(handshakeOf(this.#request));
  }

  /** The subprotocols that the request offers, in its order of preference. */
  get requestedProtocols(): string[] {
    return offeredSubprotocols(handshakeOf(this.#request));
  }

  /** @internal The Origin header of the request. */
  get origin(): string | undefined {
    return handshakeOf(this.#request).headers.origin as string | undefined;
  }

  /** @internal The request. */
  get request(): IncomingMessage {
    return this.#request;
  }

  /** @internal The accepted socket. */
  get connection(): WebSocketConnection | undefined {
    return this.#connection;
  }

  /**
   * Accepts the request: sends the 101 (over HTTP/2 the 200) with the headers and cookies that the
   * middleware has set.
   *
   * @throws HandshakeError after the request was refused by 400, 426 or 503, because it is
   *   malformed or the server closes; ConnectionClosedError when the client has left;
   *   InvalidStateError when it is no WebSocket request, was
   *   accepted before, has an answer already, or `handleUpgrades(server)` was not called;
   *   TypeError or RangeError for a subprotocol that was not offered or an option out of range.
   * @see RFC 6455 §4.2.2, RFC 8441 §5
   */
  async accept(options: AcceptOptions = {}): Promise<WebSocketConnection> {
    const request = this.#request;
    const handshake = handshakeOf(request);
    this.#checkState(handshake);
    try {
      checkHandshake(handshake);
    } catch (error) {
      throw this.#refuse(error);
    }
    const socketOptions = resolveSocketOptions(options, this.#options);
    const { subprotocol } = options;
    if (subprotocol !== undefined && !this.requestedProtocols.includes(subprotocol)) {
      throw new TypeError(
        `The subprotocol "${subprotocol}" was not offered; choose from requestedProtocols or none.`,
      );
    }
    const upgrade = pendingUpgradeOf(request);
    if (upgrade === undefined) {
      throw new InvalidStateError(
        "ERR_UPGRADES_NOT_HANDLED",
        "This server does not send upgrades here: call handleUpgrades(server) once, after creating it.",
      );
    }
    if (request.socket.destroyed) {
      this.#refusal = new ConnectionClosedError(
        "ERR_CONNECTION_LOST",
        "The client left before it was accepted.",
      );
      this.#hooks.takeOver?.();
      throw this.#refusal;
    }
    const { compression } = socketOptions;
    const offers = handshake.headers["sec-websocket-extensions"] as string | undefined;
    const deflate = compression ? acceptDeflate(offers, deflateWishes(compression)) : undefined;
    this.#hooks.takeOver?.();
    try {
      this.#connection = upgrade.accept(acceptHeaders(handshake, subprotocol, deflate?.header), {
        role: "server",
        subprotocol,
        deflate: deflate?.agreement,
        options: socketOptions,
      });
    } catch (error) {
      throw this.#refuse(error);
    }
    return this.#connection;
  }

  /** @internal Whether `error` says that `accept()` refused the request, or that its client left. */
  isOwnRefusal(error: unknown): boolean {
    return error !== undefined && error === this.#refusal;
  }

  /**
   * @internal Lets everybody who waits for the response know that the request is over. Nothing is
   * written: the socket is not the response's any more.
   */
  endResponse(): void {
    const response = this.#response;
    if (response.writableEnded) return;
    const guard = (run: () => void) => {
      try {
        run();
      } catch (error) {
        log(this.#options.logger, "error", "middleware threw at the end of a response", { error });
      }
    };
    // Node emits `finish`, also when middleware ends it only later; the response of HTTP/2 is told
    // of its close by the stream, that of HTTP/1.1 has no socket any more to be told by.
    if (!isHttp2(response)) response.once("finish", () => guard(() => response.emit("close")));
    // Calls what middleware has put around `end`: express-session saves there.
    guard(() => response.end());
  }

  #checkState(handshake: HandshakeRequest): void {
    if (!asksForWebSocket(handshake)) {
      throw new InvalidStateError(
        "ERR_NOT_A_WEBSOCKET_REQUEST",
        "The request does not ask for a WebSocket; look at isWebSocketRequest before accept().",
      );
    }
    if (this.#connection !== undefined || this.#refusal !== undefined) {
      throw new InvalidStateError("ERR_ALREADY_ACCEPTED", "accept() was called before.");
    }
    if (this.#response.headersSent) {
      throw new InvalidStateError(
        "ERR_RESPONSE_SENT",
        "The request has an answer already, so it cannot be accepted.",
      );
    }
  }

  #refuse(error: unknown): unknown {
    if (!(error instanceof HandshakeError)) return error;
    log(this.#options.logger, "info", "a handshake was refused", {
      code: error.code,
      status: error.status,
    });
    this.#refusal = error;
    this.#hooks.takeOver?.();
    refuse(this.#response, error);
    return error;
  }
}

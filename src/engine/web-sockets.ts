import type { IncomingMessage, ServerResponse } from "node:http";
import { settled } from "../deferred.js";
import { log } from "../logger.js";
import {
  type ResolvedSocketOptions,
  resolveSocketOptions,
  type WebSocketOptions,
} from "./options.js";
import { type OriginPolicy, originPolicy } from "./origin.js";
import { type ManagerHooks, WebSocketManager } from "./web-socket-manager.js";

/** What the middleware of every framework does; an adapter finds request, response and `next`. */
export class WebSockets {
  readonly #options: ResolvedSocketOptions;
  readonly #isAllowedOrigin: OriginPolicy;

  /** @throws RangeError or TypeError, naming the option, when one is wrong. */
  constructor(options: WebSocketOptions = {}) {
    this.#options = resolveSocketOptions(options);
    this.#isAllowedOrigin = originPolicy(options.allowedOrigins);
  }

  /**
   * The manager of a request, or why the request must be answered with 403.
   *
   * Cross-origin pages are refused before any handler runs, since the browser sends the user's
   * cookies along and no CORS check applies (RFC 6455 §10.2).
   */
  manage(
    request: IncomingMessage,
    response: ServerResponse,
    hooks: ManagerHooks,
  ): WebSocketManager | string {
    const manager = this.manager(request, response, hooks);
    return this.originRefusal(manager) ?? manager;
  }

  /** The manager of a request whose origin is not judged yet, or by somebody else. */
  manager(
    request: IncomingMessage,
    response: ServerResponse,
    hooks: ManagerHooks,
  ): WebSocketManager {
    return new WebSocketManager(request, response, this.#options, hooks);
  }

  /** Why a request for a WebSocket must be answered with 403; `undefined` if it need not. */
  originRefusal(manager: WebSocketManager): string | undefined {
    const { origin, request } = manager;
    if (!origin || !manager.isWebSocketRequest) return undefined;
    if (this.#isAllowedOrigin(origin, request)) return undefined;
    log(this.#options.logger, "warn", "a page of another origin was refused; see allowedOrigins", {
      origin: origin.slice(0, 200),
    });
    return "Pages of this origin may not open WebSockets here.\n";
  }

  /**
   * Runs the rest of the pipeline and ends its socket with it: 1000 when it returns, 1011 when it
   * throws. What the end of the socket itself threw is not an error of the application.
   */
  run<T>(manager: WebSocketManager, next: () => T | Promise<T>): Promise<T | undefined> {
    // Not an async function, whose frame would live as long as the socket and weigh half a kilobyte.
    return settled(next).then(
      (result) => afterHandler(manager, result),
      (error) => afterFailure(manager, error),
    );
  }
}

function afterHandler<T>(manager: WebSocketManager, result: T): T | Promise<T> {
  const { connection } = manager;
  if (connection === undefined) return result;
  return connection.endHandler().then(() => {
    manager.endResponse();
    return result;
  });
}

async function afterFailure(manager: WebSocketManager, error: unknown): Promise<undefined> {
  if (manager.isOwnRefusal(error)) return;
  const { connection } = manager;
  if (connection === undefined) throw error;
  try {
    await connection.endHandler(error ?? new Error("The handler threw nothing."));
    if (!connection.isOwnFailure(error)) throw error;
  } finally {
    manager.endResponse();
  }
}

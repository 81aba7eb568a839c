import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { settled } from "../deferred.js";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import type { Hub, HubClass } from "../hub/hub.js";
import type { HubOptions } from "../hub/options.js";
import { defaultLogger, type Logger, log } from "../logger.js";
import type { Endpoint } from "../transports/endpoint.js";
import { type Exchange, pathOf } from "../transports/exchange.js";
import { connectionEndpoint, hubEndpoint } from "../transports/mapped.js";
import type { ConnectionOptions } from "../transports/options.js";
import type { RawHandler } from "../transports/raw-connection.js";

/**
 * A request behind `webSockets()`. Over HTTP/2 it is an `Http2ServerRequest`, and its response an
 * `Http2ServerResponse`, which are alike for nearly all that handlers do.
 */
export interface WebSocketRequest extends IncomingMessage {
  webSockets: WebSocketManager;
}

/** A link of a chain: `await next()` runs the links behind it. */
export type Middleware = (
  request: WebSocketRequest,
  response: ServerResponse,
  next: () => Promise<void>,
) => unknown;

const noHooks = {};

/**
 * Middleware that gives the links behind it `request.webSockets`, and stays in the chain while
 * their socket is open.
 *
 * Needs `handleUpgrades(server)`. A second one in the same chain does nothing.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function webSockets(options?: WebSocketOptions): Middleware {
  const shared = new WebSockets(options);
  return (request, response, next) => {
    if (request.webSockets !== undefined) return next();
    const manager = shared.manage(request, response, noHooks);
    if (typeof manager === "string") {
      response.writeHead(403, { "Content-Type": "text/plain; charset=utf-8" }).end(manager);
      return undefined;
    }
    request.webSockets = manager;
    return shared.run(manager, next);
  };
}

/**
 * Serves a hub at `path`, with negotiate and all three transports, and leaves every other request
 * alone. What is registered in front runs for each of its requests.
 *
 * WebSockets need `handleUpgrades(server)`. The link lasts as long as the socket, event stream or poll.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example http.createServer(compose([mapHub("/chat", ChatHub)]))
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function mapHub<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): Middleware {
  return serve(hubEndpoint(path, hubClass, options));
}

/**
 * Serves connections without hubs at `path` as {@link mapHub} serves a hub.
 *
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example http.createServer(compose([mapConnection("/echo", handler)]))
 */
export function mapConnection(
  path: string,
  handler: RawHandler,
  options: ConnectionOptions = {},
): Middleware {
  return serve(connectionEndpoint(path, handler, options));
}

/** @internal Serves what {@link mapHub} and {@link mapConnection} make, or a test. */
export function serve(endpoint: Endpoint): Middleware {
  return async (request, response, next) => {
    const path = pathOf(request.url ?? "");
    const route = endpoint.route(path);
    if (route === undefined) return next();
    const isAnswered = await endpoint.handle(route, exchangeOf(request, response, path));
    return isAnswered ? undefined : next();
  };
}

function exchangeOf(request: WebSocketRequest, response: ServerResponse, path: string): Exchange {
  return {
    request,
    response,
    path,
    raw: request,
    get remoteAddress() {
      return request.socket.remoteAddress;
    },
    get user() {
      return (request as { user?: unknown }).user;
    },
    webSockets: request.webSockets,
    body: () => (request as { body?: unknown }).body,
    hasHeader: (name) => response.hasHeader(name),
    respond: (status, headers, body) => void response.writeHead(status, headers).end(body),
    takeOver() {},
  };
}

/** A listener for `request` of a server of node:http, node:https or node:http2. */
export type AnyRequestListener = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
) => void;

/**
 * Makes a request listener of a chain of middleware, each of which decides by `next()` whether and
 * when the ones behind it run.
 *
 * A request that nobody answered gets 404. An error gets the status it names as `status`, else 500,
 * if nothing was sent yet, and a log line either way; it never leaves the listener.
 * @param options.logger - Where those lines go. Default: the console.
 * @example http.createServer(compose([webSockets(), handler]))
 */
export function compose(
  middleware: readonly Middleware[],
  { logger = defaultLogger }: { logger?: Logger } = {},
): AnyRequestListener {
  return (anyRequest, anyResponse) => {
    const request = anyRequest as WebSocketRequest;
    const response = anyResponse as ServerResponse;
    // No async function: its frame would be kept as long as a socket that is served behind it.
    const run = (index: number): unknown => {
      const link = middleware[index];
      if (link === undefined) return answer(response, 404);
      let wasCalled = false;
      return link(request, response, () => {
        if (wasCalled)
          return Promise.reject(new Error("next() was called twice by one middleware."));
        wasCalled = true;
        return settled(() => run(index + 1)) as Promise<void>;
      });
    };
    settled(() => run(0)).catch((error: unknown) => {
      log(logger, "error", "a request handler threw", { error });
      const status = (error as { status?: unknown } | undefined)?.status;
      const isErrorStatus =
        Number.isInteger(status) && Number(status) >= 400 && Number(status) < 600;
      answer(response, isErrorStatus ? Number(status) : 500);
    });
  };
}

function answer(response: ServerResponse, status: number): void {
  if (response.headersSent || response.writableEnded) return;
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8" }).end(`${status}\n`);
}

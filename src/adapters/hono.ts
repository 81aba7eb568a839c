import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context, MiddlewareHandler } from "hono";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import type { Hub, HubClass } from "../hub/hub.js";
import { hubHandler } from "../hub/hub-handler.js";
import type { HubOptions } from "../hub/options.js";
import { Endpoint, type Route } from "../transports/endpoint.js";
import type { Exchange, ResponseHeaders } from "../transports/exchange.js";
import type { ConnectionOptions } from "../transports/options.js";
import { type RawHandler, rawConnections } from "../transports/raw-connection.js";

declare module "hono" {
  interface ContextVariableMap {
    /** The request's WebSocket side, behind `webSockets()`. */
    webSockets: WebSocketManager;
  }
}

/** What `@hono/node-server` puts into `c.env`. */
interface NodeBindings {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/**
 * Middleware that gives the handlers behind it `c.var.webSockets`, and stays in the pipeline while
 * their socket is open. A handler need not return a response after `accept()`.
 *
 * Hono hands every error of a handler to `app.onError`, so that it sees refusals by `accept()` and
 * lost connections too; what it returns for them is not sent.
 *
 * Runs on `@hono/node-server`; needs `handleUpgrades(serve(…))`. A second one does nothing.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function webSockets(options?: WebSocketOptions): MiddlewareHandler {
  const shared = new WebSockets(options);
  return async (c, next) => {
    if (c.get("webSockets") !== undefined) {
      await next();
      return undefined;
    }
    const { incoming, outgoing } = bindingsOf(c);
    let isTakenOver = false;
    const takeOver = () => {
      if (!isTakenOver) copyHeaders(c, outgoing);
      isTakenOver = true;
    };
    const manager = shared.manage(incoming, outgoing, { takeOver });
    if (typeof manager === "string") return c.text(manager, 403);
    c.set("webSockets", manager);
    try {
      await shared.run(manager, async () => {
        await next();
        // Hono's `next` does not throw: the error is there, and `app.onError` has seen it.
        if (isTakenOver && c.error !== undefined) throw c.error;
      });
    } catch (error) {
      if (c.error === undefined || error !== c.error) throw error;
    } finally {
      if (isTakenOver || outgoing.headersSent) sayAlreadySent(c);
    }
    return undefined;
  };
}

/**
 * Serves a hub at `path`, with negotiate and all three transports, and leaves every other request
 * alone. What is registered in front runs for each of its requests.
 *
 * WebSockets need `handleUpgrades(server)`. It lasts as long as the socket, event stream or
 * poll. The path is the whole one, wherever the middleware is registered.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example app.use(mapHub("/chat", ChatHub))
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function mapHub<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): MiddlewareHandler {
  return serve(new Endpoint(path, hubHandler(hubClass, options), options));
}

/**
 * Serves connections without hubs at `path` as {@link mapHub} serves a hub.
 *
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example app.use(mapConnection("/echo", handler))
 */
export function mapConnection(
  path: string,
  handler: RawHandler,
  options: ConnectionOptions = {},
): MiddlewareHandler {
  return serve(new Endpoint(path, rawConnections(handler, options), options));
}

function serve(endpoint: Endpoint): MiddlewareHandler {
  return async (c, next) => {
    const route = endpoint.route(c.req.path);
    const exchange = route && new HonoExchange(c);
    if (exchange === undefined || !(await endpoint.handle(route as Route, exchange))) {
      await next();
      return undefined;
    }
    if (!exchange.isTakenOver) return exchange.result ?? c.body(null);
    sayAlreadySent(c);
    return undefined;
  };
}

/** Hono's answer is a value, which waits here until the middleware returns it. */
class HonoExchange implements Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly raw: Context;
  result: Response | undefined;
  isTakenOver = false;

  constructor(c: Context) {
    const { incoming, outgoing } = bindingsOf(c);
    this.request = incoming;
    this.response = outgoing;
    this.raw = c;
  }

  get path(): string {
    return this.raw.req.path;
  }

  get remoteAddress(): string | undefined {
    return this.request.socket?.remoteAddress;
  }

  /** Hono's own middleware for tokens calls it the payload. */
  get user(): unknown {
    return this.raw.get("user") ?? this.raw.get("jwtPayload");
  }

  get webSockets(): WebSocketManager | undefined {
    return this.raw.get("webSockets");
  }

  body(): Promise<ArrayBuffer> {
    return this.raw.req.arrayBuffer();
  }

  hasHeader(name: string): boolean {
    return this.raw.res.headers.has(name) || this.response.hasHeader(name);
  }

  respond(status: number, headers: ResponseHeaders, body?: Uint8Array): void {
    const entries = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    const content = status === 204 ? undefined : body;
    const { raw: c } = this;
    // Its types know of each status whether it may have a body.
    this.result = c.body((content ?? null) as null, status as 200, Object.fromEntries(entries));
  }

  takeOver(): void {
    if (!this.isTakenOver) copyHeaders(this.raw, this.response);
    this.isTakenOver = true;
  }
}

function bindingsOf(c: Context): NodeBindings {
  const { incoming, outgoing } = (c.env ?? {}) as Partial<NodeBindings>;
  if (incoming === undefined || outgoing === undefined) {
    throw new TypeError("halyard/hono needs @hono/node-server: c.env has no incoming request.");
  }
  return { incoming, outgoing };
}

/** Tells the server that nothing is left to be written. */
function sayAlreadySent(c: Context): void {
  c.res = new Response(null, { headers: { "x-hono-already-sent": "true" } });
  // The server writes a response that nobody has looked into without looking for that header.
  void c.res.body;
}

/** What `c.header` and the like have set lies in Hono's response, which will not be sent. */
function copyHeaders(c: Context, outgoing: ServerResponse): void {
  for (const [name, value] of c.res.headers) {
    if (name !== "set-cookie") outgoing.setHeader(name, value);
  }
  for (const cookie of c.res.headers.getSetCookie()) outgoing.appendHeader("set-cookie", cookie);
}

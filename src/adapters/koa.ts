import type { Context, Middleware } from "koa";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import type { Hub, HubClass } from "../hub/hub.js";
import { hubHandler } from "../hub/hub-handler.js";
import type { HubOptions } from "../hub/options.js";
import { Endpoint } from "../transports/endpoint.js";
import type { Exchange } from "../transports/exchange.js";
import type { ConnectionOptions } from "../transports/options.js";
import { type RawHandler, rawConnections } from "../transports/raw-connection.js";

declare module "koa" {
  interface DefaultContext {
    /** The request's WebSocket side, behind `webSockets()`. */
    webSockets: WebSocketManager;
  }
}

/**
 * Middleware that gives the ones behind it `ctx.webSockets`, and stays in the pipeline while their
 * socket is open.
 *
 * Needs `handleUpgrades(app.listen(…))`. A second one in the same pipeline does nothing.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function webSockets(options?: WebSocketOptions): Middleware {
  const shared = new WebSockets(options);
  return async (ctx: Context, next) => {
    if (ctx.webSockets !== undefined) return next();
    const takeOver = () => {
      ctx.respond = false;
    };
    const manager = shared.manage(ctx.req, ctx.res, { takeOver });
    if (typeof manager === "string") {
      ctx.status = 403;
      ctx.body = manager;
      return undefined;
    }
    ctx.webSockets = manager;
    if (manager.isWebSocketRequest) ignoreSocketErrors(ctx);
    return shared.run(manager, next);
  };
}

/**
 * Serves a hub at `path`, with negotiate and all three transports, and leaves every other request
 * alone. What is registered in front runs for each of its requests.
 *
 * WebSockets need `handleUpgrades(server)`. The middleware lasts as long as the socket, event
 * stream or poll.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example app.use(mapHub("/chat", ChatHub))
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function mapHub<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): Middleware {
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
): Middleware {
  return serve(new Endpoint(path, rawConnections(handler, options), options));
}

function serve(endpoint: Endpoint): Middleware {
  return async (ctx: Context, next) => {
    const route = endpoint.route(ctx.path);
    if (route === undefined) return next();
    ignoreSocketErrors(ctx);
    return (await endpoint.handle(route, exchangeOf(ctx))) ? undefined : next();
  };
}

/** Koa's request as body parsers leave it. */
interface ParsedRequest {
  readonly body?: unknown;
  readonly rawBody?: unknown;
}

function exchangeOf(ctx: Context): Exchange {
  return {
    request: ctx.req,
    response: ctx.res,
    raw: ctx,
    path: ctx.path,
    get remoteAddress() {
      return ctx.ip;
    },
    get user() {
      return ctx.state.user;
    },
    webSockets: ctx.webSockets,
    body: () => {
      const { body, rawBody } = ctx.request as ParsedRequest;
      return rawBody ?? body;
    },
    hasHeader: (name) => ctx.res.hasHeader(name),
    respond: (status, headers, body) => {
      ctx.status = status;
      for (const [name, value] of Object.entries(headers)) ctx.set(name, String(value));
      if (body !== undefined && status !== 204) ctx.body = body;
    },
    takeOver: () => {
      ctx.respond = false;
    },
  };
}

/**
 * Koa reports what befalls the socket under a response as an error of the application; that a peer
 * of a WebSocket resets it is everyday life, and its receiver is told.
 */
function ignoreSocketErrors(ctx: Context): void {
  const report = ctx.onerror;
  ctx.onerror = (error) => {
    if (error !== ctx.req.socket.errored) report.call(ctx, error);
  };
}

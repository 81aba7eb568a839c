import type { Socket } from "node:net";
import type { Request, RequestHandler, Response } from "express";
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

declare global {
  namespace Express {
    interface Request {
      /** The request's WebSocket side, behind `webSockets()`. */
      webSockets: WebSocketManager;
    }
  }
}

/**
 * Middleware that gives the handlers behind it `req.webSockets`.
 *
 * Needs `handleUpgrades(app.listen(…))`. Express does not tell when a handler has returned, so that
 * returning does not close the socket: close it, or write `await using socket = …`. The response
 * emits `finish` and `close` when the socket is gone. A handler that throws closes it with 1011.
 * Error handlers see all that handlers throw, refusals by `accept()` and lost connections too; pass
 * on what comes when `response.headersSent`.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function webSockets(options?: WebSocketOptions): RequestHandler {
  const shared = new WebSockets(options);
  return (request, response, next) => {
    if (request.webSockets !== undefined) return next();
    const manager = shared.manage(request, response, {
      takeOver: () => {
        request.socket = endedByPipeline(request.socket, manager as WebSocketManager);
        // Runs when accept() has made the connection.
        queueMicrotask(() => endResponseWithSocket(manager as WebSocketManager));
      },
    });
    if (typeof manager === "string") {
      response.status(403).type("text").send(manager);
      return;
    }
    request.webSockets = manager;
    next();
  };
}

/**
 * Serves a hub at `path`, with negotiate and all three transports, and leaves every other request
 * alone. What is registered in front runs for each of its requests.
 *
 * WebSockets need `handleUpgrades(server)`.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example app.use(mapHub("/chat", ChatHub))
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function mapHub<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): RequestHandler {
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
): RequestHandler {
  return serve(new Endpoint(path, rawConnections(handler, options), options));
}

function serve(endpoint: Endpoint): RequestHandler {
  return (request, response, next) => {
    const route = endpoint.route(request.path);
    if (route === undefined) return next();
    void endpoint.handle(route, exchangeOf(request, response)).then((isAnswered) => {
      if (!isAnswered) next();
    });
  };
}

function exchangeOf(request: Request, response: Response): Exchange {
  return {
    request,
    response,
    raw: request,
    path: request.path,
    get remoteAddress() {
      return request.ip;
    },
    get user() {
      return (request as { user?: unknown }).user;
    },
    webSockets: request.webSockets,
    body: () => request.body,
    hasHeader: (name) => response.hasHeader(name),
    respond: (status, headers, body) => void response.writeHead(status, headers).end(body),
    takeOver() {},
  };
}

function endResponseWithSocket(manager: WebSocketManager): void {
  void manager.connection?.whenGone().then(() => manager.endResponse());
}

/**
 * The socket as Express shall see it. Its last error handler destroys the socket of a request that
 * has been answered; here that has to mean 1011, and after a refusal nothing.
 */
function endedByPipeline(socket: Socket, manager: WebSocketManager): Socket {
  const destroy = () => {
    void manager.connection?.endHandler(new Error("The request's pipeline ended in an error."));
    return socket;
  };
  return new Proxy(socket, {
    get: (target, name, receiver) =>
      name === "destroy" ? destroy : Reflect.get(target, name, receiver),
  });
}

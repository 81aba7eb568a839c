import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from "fastify";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import { InvalidStateError } from "../errors.js";
import type { Hub, HubClass } from "../hub/hub.js";
import { hubHandler } from "../hub/hub-handler.js";
import type { HubOptions } from "../hub/options.js";
import { noteMappedPath } from "../transports/authentication.js";
import { Endpoint, subPaths } from "../transports/endpoint.js";
import { type Exchange, pathOf } from "../transports/exchange.js";
import type { ConnectionOptions } from "../transports/options.js";
import { type RawHandler, rawConnections } from "../transports/raw-connection.js";

declare module "fastify" {
  interface FastifyRequest {
    /** The request's WebSocket side, behind `webSockets()`. */
    webSockets: WebSocketManager;
  }
}

/**
 * A plugin that gives handlers `request.webSockets`, and keeps a request open while its socket is.
 *
 * Needs `handleUpgrades(app.server)`, and must be registered before the routes it is for:
 * `await app.register(webSockets())`. Registered twice it does nothing the second time. Handlers
 * that accept must be async: what ends the request is their promise.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function webSockets(options?: WebSocketOptions): (app: FastifyInstance) => Promise<void> {
  const shared = new WebSockets(options);
  const running = new WeakSet<FastifyRequest>();
  const plugin = async (app: FastifyInstance) => {
    if (app.hasRequestDecorator("webSockets")) return;
    app.decorateRequest("webSockets");
    app.addHook("onRequest", async (request, reply) => {
      const takeOver = () => {
        if (!running.has(request)) throw registeredTooLate();
        copyHeaders(reply);
        reply.hijack();
      };
      const manager = shared.manage(request.raw, reply.raw, { takeOver });
      if (typeof manager === "string") return reply.code(403).type("text/plain").send(manager);
      request.webSockets = manager;
      return undefined;
    });
    app.addHook("onRoute", (route) => {
      const handler = route.handler as RouteHandlerMethod;
      route.handler = function (request, reply) {
        if (!request.webSockets?.isWebSocketRequest) return handler.call(this, request, reply);
        running.add(request);
        const result = handler.call(this, request, reply);
        // Who returns no promise answers by `reply.send` when it likes, and Fastify must see that.
        return result instanceof Promise ? shared.run(request.webSockets, () => result) : result;
      };
    });
  };
  // What fastify-plugin does: hooks and decorators are the caller's own.
  return Object.assign(plugin, {
    [Symbol.for("skip-override")]: true,
    [Symbol.for("fastify.display-name")]: "halyard",
  });
}

/**
 * Serves a hub at `path`, with negotiate and all three transports, and leaves every other request
 * alone. What is registered in front runs for each of its requests.
 *
 * WebSockets need `handleUpgrades(server)`. It is a plugin.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example await app.register(mapHub("/chat", ChatHub))
 */
// biome-ignore lint/suspicious/noExplicitAny: hubs with clients of any kind.
export function mapHub<THub extends Hub<any>>(
  path: string,
  hubClass: HubClass<THub>,
  options: HubOptions<THub> & ConnectionOptions = {},
): Plugin {
  return routes(path, new Endpoint(path, hubHandler(hubClass, options), options));
}

/**
 * Serves connections without hubs at `path` as {@link mapHub} serves a hub.
 *
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 * @example await app.register(mapConnection("/echo", handler))
 */
export function mapConnection(
  path: string,
  handler: RawHandler,
  options: ConnectionOptions = {},
): Plugin {
  return routes(path, new Endpoint(path, rawConnections(handler, options), options));
}

type Plugin = (app: FastifyInstance) => Promise<void>;

function routes(path: string, endpoint: Endpoint): Plugin {
  return async (app) => {
    // The plugin's own context: elsewhere bodies are parsed as before.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    const base = path.replace(/\/+$/, "");
    noteMappedPath(app.prefix + base);
    for (const subPath of subPaths) {
      const route = endpoint.route(base + subPath);
      const isDouble = subPath === "/" && base !== "" && app.initialConfig.ignoreTrailingSlash;
      if (route === undefined || base + subPath === "" || isDouble) continue;
      app.all(base + subPath, async (request, reply) => {
        const isAnswered = await endpoint.handle(route, exchangeOf(request, reply));
        if (!isAnswered) reply.callNotFound();
        return reply;
      });
    }
  };
}

function exchangeOf(request: FastifyRequest, reply: FastifyReply): Exchange {
  return {
    request: request.raw,
    response: reply.raw,
    raw: request,
    path: pathOf(request.url),
    get remoteAddress() {
      return request.ip;
    },
    get user() {
      return (request as { user?: unknown }).user;
    },
    webSockets: request.webSockets,
    body: () => request.body,
    hasHeader: (name) => reply.hasHeader(name) || reply.raw.hasHeader(name),
    respond: (status, headers, body) => void reply.code(status).headers(headers).send(body),
    takeOver: () => {
      if (reply.sent) return;
      copyHeaders(reply);
      reply.hijack();
    },
  };
}

/** What hooks and handlers have set lies in the reply until Fastify sends it, which it now will not. */
function copyHeaders(reply: FastifyReply): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
}

function registeredTooLate(): InvalidStateError {
  return new InvalidStateError(
    "ERR_REGISTERED_TOO_LATE",
    "This route is not run by halyard: write `await app.register(webSockets())` before the routes.",
  );
}

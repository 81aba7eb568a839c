import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from "fastify";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";
import { InvalidStateError } from "../errors.js";

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

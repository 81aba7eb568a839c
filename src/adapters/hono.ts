import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context, MiddlewareHandler } from "hono";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";

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
    const { incoming, outgoing } = (c.env ?? {}) as Partial<NodeBindings>;
    if (incoming === undefined || outgoing === undefined) {
      throw new TypeError("halyard/hono needs @hono/node-server: c.env has no incoming request.");
    }
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

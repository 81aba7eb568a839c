import type { Context, Middleware } from "koa";
import type { WebSocketOptions } from "../engine/options.js";
import type { WebSocketManager } from "../engine/web-socket-manager.js";
import { WebSockets } from "../engine/web-sockets.js";

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
 * Koa reports what befalls the socket under a response as an error of the application; that a peer
 * of a WebSocket resets it is everyday life, and its receiver is told.
 */
function ignoreSocketErrors(ctx: Context): void {
  const report = ctx.onerror;
  ctx.onerror = (error) => {
    if (error !== ctx.req.socket.errored) report.call(ctx, error);
  };
}

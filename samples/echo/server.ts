import { fileURLToPath } from "node:url";
import type { WebSocketConnection } from "halyard";
import { webSockets } from "halyard/koa";
import Koa from "koa";
import serve from "koa-static";
import { files } from "../shared/files.js";

const shared = new URL("../../../samples/shared/page", import.meta.url);
const page = fileURLToPath(new URL("../../../samples/echo/page", import.meta.url));

/** The echo at /ws, and the page that talks to it. */
export function createEchoApp(): Koa {
  const app = new Koa();
  app.use(webSockets({ keepAliveInterval: 30_000, receiveBufferSize: 4 * 1024 }));
  app.use(async (ctx, next) => {
    if (ctx.path !== "/ws") return next();
    if (!ctx.webSockets.isWebSocketRequest) {
      ctx.status = 400;
      return undefined;
    }
    return echo(await ctx.webSockets.accept());
  });
  app.use(files("/shared/", shared));
  app.use(serve(page));
  return app;
}

/** Sends every piece back as it came, then closes as the peer did. */
async function echo(socket: WebSocketConnection): Promise<void> {
  const buffer = new Uint8Array(socket.receiveBufferSize);
  let piece = await socket.receive(buffer);
  while (piece.type !== "close") {
    const { count, type, endOfMessage } = piece;
    await socket.send(buffer.subarray(0, count), { type, endOfMessage });
    piece = await socket.receive(buffer);
  }
  await socket.close(socket.closeStatus, socket.closeStatusDescription);
}

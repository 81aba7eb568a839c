import type Koa from "koa";
import { addChat } from "./chat/server.js";
import { createEchoApp } from "./echo/server.js";

/** All samples: the echo at `/`, the chat at `/chat/`. */
export function createSamplesApp(): Koa {
  const app = createEchoApp();
  addChat(app);
  return app;
}

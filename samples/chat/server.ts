import { json } from "halyard/hub";
import { mapHub } from "halyard/koa";
import { messagePack } from "halyard/messagepack";
import type Koa from "koa";
import { files } from "../shared/files.js";
import { contract } from "./contract.js";
import { ChatHub } from "./hub.js";
import { Rooms } from "./rooms.js";

const page = new URL("../../../samples/chat/page", import.meta.url);
const bundles = {
  "/chat/signalr/": "@microsoft/signalr/dist/browser/signalr.min.js",
  "/chat/signalr-msgpack/":
    "@microsoft/signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.min.js",
};

/** The hub at /chat/hub, and the page that talks to it by Microsoft's own client. */
export function addChat(app: Koa): void {
  const rooms = new Rooms();
  app.use(
    mapHub("/chat/hub", ChatHub, {
      contract,
      create: () => new ChatHub(rooms),
      supportedProtocols: [json(), messagePack()],
      rateLimits: { connection: { perSecond: 10, burst: 40 } },
    }),
  );
  for (const [at, bundle] of Object.entries(bundles)) {
    app.use(files(at, new URL(".", import.meta.resolve(bundle))));
  }
  app.use(async (ctx, next) => (ctx.path === "/chat" ? ctx.redirect("/chat/") : next()));
  app.use(files("/chat/", page));
}

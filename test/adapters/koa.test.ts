import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { handleUpgrades } from "halyard";
import { webSockets } from "halyard/koa";
import Koa from "koa";
import {
  ask,
  closeOf,
  describeAdapter,
  type Exchange,
  echo,
  type Harness,
  openClient,
  type Setup,
  startApp,
} from "../specs/adapter-suite.js";
import { Signal } from "../support/network.js";

function exchangeOf(ctx: Koa.Context): Exchange {
  return {
    request: ctx.req,
    response: ctx.res,
    get webSockets() {
      return ctx.webSockets;
    },
    setHeader: (name, value) => ctx.set(name, value),
    addCookie: (name, value) => void ctx.cookies.set(name, value),
    answer: (status, body) => {
      ctx.status = status;
      ctx.body = body;
    },
  };
}

const harness: Harness = {
  awaitsHandlers: true,
  reportsEverything: false,
  webSockets,
  async start({ options, steps = [], handler, registrations = 1, upgrades = {} }: Setup) {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on("error", (error) => errors.push(error));
    for (const step of steps) {
      app.use(async (ctx, next) => {
        try {
          await step.enter?.(exchangeOf(ctx));
          if (ctx.body != null) return;
          await (step.around ? step.around(next) : next());
        } finally {
          step.leave?.();
        }
      });
    }
    for (let n = 0; n < registrations; n++) app.use(webSockets(options));
    app.use(async (ctx) => {
      await handler(exchangeOf(ctx));
    });
    const server = app.listen(0, "127.0.0.1");
    if (upgrades !== false) handleUpgrades(server, upgrades);
    return { server, errors };
  },
};

describeAdapter("Koa", harness);

describe("Koa after the socket's end", () => {
  it("lets the middleware outside set what it likes, and writes none of it", async (t) => {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on("error", (error) => errors.push(error));
    const unwound = new Signal<Koa.Context>("the outer middleware");
    app.use(async (ctx, next) => {
      await next();
      ctx.status = 200;
      ctx.set("X-Late", "yes");
      ctx.body = { late: true };
      unwound.fire(ctx);
    });
    app.use(webSockets());
    app.use(async (ctx) => {
      const socket = await ctx.webSockets.accept();
      for await (const message of socket) await socket.send(message.data);
    });
    const start = async () => {
      const server = app.listen(0, "127.0.0.1");
      handleUpgrades(server);
      return { server, errors };
    };
    const { port } = await startApp(t, { ...harness, start }, { handler: echo });
    const { client } = await openClient(t, port);
    assert.equal(await ask(client, "hello"), "hello");
    const closed = closeOf(client);
    client.close(4003, "bye");
    assert.deepEqual(await closed, [4003, "bye"]);
    const ctx = await unwound.wait();
    assert.equal(ctx.res.statusCode, 101);
    assert.deepEqual(errors, []);
  });
});

import assert from "node:assert/strict";
import type { Server } from "node:http";
import { describe, it, type TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type HttpBindings, serve } from "@hono/node-server";
import { handleUpgrades } from "halyard";
import { webSockets } from "halyard/hono";
import { type Context, Hono } from "hono";
import { setCookie } from "hono/cookie";
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
import { rawRequest, Signal, upgradeRequest } from "../support/network.js";

type Env = { Bindings: HttpBindings };

/** Hono's answer is a value; the exchange keeps it until the middleware or handler returns it. */
function exchangeOf(c: Context<Env>): Exchange & { readonly result: Response | undefined } {
  let result: Response | undefined;
  return {
    request: c.env.incoming,
    response: c.env.outgoing,
    get result() {
      return result;
    },
    get webSockets() {
      return c.get("webSockets");
    },
    setHeader: (name, value) => c.header(name, value),
    addCookie: (name, value) => setCookie(c, name, value),
    answer: (status, body) => {
      result = c.body(body, status as 200);
    },
  };
}

const harness: Harness = {
  awaitsHandlers: true,
  reportsEverything: true,
  webSockets,
  async start({ options, steps = [], handler, registrations = 1, upgrades = {} }: Setup) {
    const app = new Hono<Env>();
    const errors: unknown[] = [];
    app.onError((error, c) => {
      errors.push(error);
      return c.text("an error", 500);
    });
    for (const step of steps) {
      app.use(async (c, next) => {
        const exchange = exchangeOf(c);
        try {
          await step.enter?.(exchange);
          if (exchange.result) return exchange.result;
          await (step.around ? step.around(next) : next());
          return undefined;
        } finally {
          step.leave?.();
        }
      });
    }
    for (let n = 0; n < registrations; n++) app.use(webSockets(options));
    app.all("*", async (c) => {
      const exchange = exchangeOf(c);
      await handler(exchange);
      return exchange.result as Response;
    });
    const server = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server;
    if (upgrades !== false) handleUpgrades(server, upgrades);
    return { server, errors };
  },
};

describeAdapter("Hono", harness);

/** Starts an app that `build` has filled. */
async function startBuilt(t: TestContext, build: (app: Hono<Env>) => unknown) {
  const app = new Hono<Env>();
  const errors: unknown[] = [];
  app.onError((error, c) => {
    errors.push(error);
    return c.text("an error", 500);
  });
  build(app);
  const start = async () => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server;
    handleUpgrades(server);
    return { server, errors };
  };
  return startApp(t, { ...harness, start }, { handler: echo });
}

const echoRoute = async (c: Context<Env>) => {
  const socket = await c.var.webSockets.accept();
  for await (const message of socket) await socket.send(message.data);
  return c.body(null);
};

describe("Hono's own ways", () => {
  it("serves routes of a mounted app that return a response after the accept", async (t) => {
    const printed = t.mock.method(console, "error", () => {});
    const { port, errors } = await startBuilt(t, (app) => {
      app.use(webSockets());
      app.route("/child", new Hono<Env>().get("/ws", echoRoute));
    });
    const { client } = await openClient(t, port, { path: "/child/ws" });
    assert.equal(await ask(client, "hello"), "hello");
    const closed = closeOf(client);
    client.close(4004);
    assert.deepEqual(await closed, [4004, ""]);
    await nextTurn();
    assert.deepEqual(errors, []);
    assert.equal(printed.mock.callCount(), 0);
  });

  it("lets the middleware outside touch the response, and writes none of it", async (t) => {
    const unwound = new Signal<number>("the outer middleware");
    const printed = t.mock.method(console, "error", () => {});
    const { port, errors } = await startBuilt(t, (app) => {
      app.use(async (c, next) => {
        await next();
        c.header("X-Late", "yes");
        c.res = new Response(c.res.body, c.res);
        unwound.fire(c.env.outgoing.statusCode);
      });
      app.use(webSockets());
      app.get("/ws", echoRoute);
    });
    const { client } = await openClient(t, port);
    assert.equal(await ask(client, "hello"), "hello");
    client.close();
    assert.equal(await unwound.wait(), 101);
    await nextTurn();
    assert.deepEqual(errors, []);
    assert.deepEqual(
      printed.mock.calls.flatMap((call) => call.arguments),
      [],
    );
  });

  it("closes with 1011 when a handler throws what is no Error", async (t) => {
    const { port } = await startBuilt(t, (app) => {
      app.use(async (_c, next) => {
        await next().catch(() => {});
      });
      app.use(webSockets());
      app.get("/ws", async (c) => {
        await c.var.webSockets.accept();
        throw "a string";
      });
    });
    const { client } = await openClient(t, port);
    assert.equal((await closeOf(client))[0], 1011);
  });

  it("says what it needs where there is no node:http request", async () => {
    const app = new Hono();
    const seen: unknown[] = [];
    app.onError((error, c) => {
      seen.push(error);
      return c.text("an error", 500);
    });
    app.use(webSockets());
    assert.equal((await app.request("/ws")).status, 500);
    assert.match(String(seen[0]), /^TypeError: halyard\/hono needs @hono\/node-server/);
  });

  it("refuses by onError's answer what is thrown before the accept", async (t) => {
    const mistake = new Error("a mistake");
    const { port, errors } = await startBuilt(t, (app) => {
      app.use(webSockets());
      app.get("/ws", () => {
        throw mistake;
      });
    });
    const response = await rawRequest(port, upgradeRequest());
    assert.deepEqual([response.status, response.body], [500, "an error"]);
    assert.deepEqual(errors, [mistake]);
  });
});

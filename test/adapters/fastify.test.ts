import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from "fastify";
import { handleUpgrades } from "halyard";
import { webSockets } from "halyard/fastify";
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
import { rawRequest, Signal, until, upgradeRequest, withTimeout } from "../support/network.js";

function exchangeOf(request: FastifyRequest, reply: FastifyReply): Exchange {
  return {
    request: request.raw,
    response: reply.raw,
    get webSockets() {
      return request.webSockets;
    },
    setHeader: (name, value) => void reply.header(name, value),
    addCookie: (name, value) => void reply.header("set-cookie", `${name}=${value}`),
    answer: (status, body) => void reply.code(status).type("text/plain").send(body),
  };
}

/** An app whose error log goes to `errors`; there everything arrives that Fastify reports. */
function quietApp(errors: unknown[]) {
  const nothing = () => {};
  const loggerInstance: FastifyBaseLogger = {
    level: "error",
    fatal: nothing,
    error: (details: { err?: unknown }) => void errors.push(details.err ?? details),
    warn: nothing,
    info: nothing,
    debug: nothing,
    trace: nothing,
    silent: nothing,
    child: () => loggerInstance,
  };
  return fastify({ loggerInstance });
}

const harness: Harness = {
  awaitsHandlers: true,
  reportsEverything: false,
  webSockets,
  async start({ options, steps = [], handler, registrations = 1, upgrades = {} }: Setup) {
    const errors: unknown[] = [];
    const app = quietApp(errors);
    for (const { enter, around, leave } of steps) {
      app.addHook("onRequest", (request, reply, done) => {
        const goOn = () => {
          if (reply.sent) return;
          if (around) around(done);
          else done();
        };
        Promise.resolve(enter?.(exchangeOf(request, reply))).then(goOn, done);
      });
      if (leave) app.addHook("onResponse", async () => leave());
    }
    for (let n = 0; n < registrations; n++) await app.register(webSockets(options));
    app.all("/*", async (request, reply) => {
      await handler(exchangeOf(request, reply));
      return reply.sent ? reply : undefined;
    });
    if (upgrades !== false) handleUpgrades(app.server, upgrades);
    await app.listen({ port: 0, host: "127.0.0.1" });
    return { server: app.server, errors };
  },
};

describeAdapter("Fastify", harness);

/** Starts an app that `build` has filled. */
async function startBuilt(t: TestContext, build: (app: FastifyInstance) => unknown) {
  const errors: unknown[] = [];
  const app = quietApp(errors);
  await build(app);
  handleUpgrades(app.server);
  await app.listen({ port: 0, host: "127.0.0.1" });
  const start = async () => ({ server: app.server, errors });
  return { app, ...(await startApp(t, { ...harness, start }, { handler: echo })) };
}

const echoRoute = async (request: FastifyRequest) => {
  const socket = await request.webSockets.accept();
  for await (const message of socket) await socket.send(message.data);
};

describe("Fastify's own ways", () => {
  it("serves routes of plugins, whose hooks run before the accept", async (t) => {
    const { port } = await startBuilt(t, async (app) => {
      await app.register(webSockets());
      await app.register(
        async (child) => {
          child.addHook("preHandler", async (_request, reply) => {
            reply.header("X-Child", "yes");
          });
          child.get("/ws", echoRoute);
        },
        { prefix: "/child" },
      );
    });
    const { client, response } = await openClient(t, port, { path: "/child/ws" });
    assert.equal(response.headers["x-child"], "yes");
    assert.equal(await ask(client, "hello"), "hello");
  });

  it("says so when a route was there before the plugin", async (t) => {
    const { port, errors } = await startBuilt(t, async (app) => {
      app.get("/early", echoRoute);
      await app.register(webSockets());
    });
    const response = await rawRequest(port, upgradeRequest({}, "/early"));
    assert.equal(response.status, 500);
    assert.deepEqual(
      errors.map((error) => (error as { code: string }).code),
      ["ERR_REGISTERED_TOO_LATE"],
    );
  });

  it("answers what its error handler says to an error before the accept", async (t) => {
    const { port } = await startBuilt(t, async (app) => {
      app.setErrorHandler((error, _request, reply) =>
        reply.code(418).send(`handled: ${(error as Error).message}`),
      );
      await app.register(webSockets());
      app.get("/ws", async () => {
        throw new Error("a mistake");
      });
    });
    const response = await rawRequest(port, upgradeRequest());
    assert.deepEqual([response.status, response.body], [418, "handled: a mistake"]);
  });

  it("sends what a handler returns for a request that it does not accept", async (t) => {
    const { port } = await startBuilt(t, async (app) => {
      await app.register(webSockets());
      app.get("/ws", async ({ webSockets: { isWebSocketRequest } }) => ({ isWebSocketRequest }));
    });
    const response = await rawRequest(port, upgradeRequest());
    assert.deepEqual(JSON.parse(response.body), { isWebSocketRequest: true });
  });

  it("lets a handler that returns nothing answer by reply.send later", async (t) => {
    const { port, errors } = await startBuilt(t, async (app) => {
      await app.register(webSockets());
      app.get("/ws", (_request, reply) => {
        setImmediate(() => reply.send("later"));
      });
    });
    const response = await rawRequest(port, upgradeRequest());
    assert.deepEqual([response.status, response.body], [200, "later"]);
    assert.deepEqual(errors, []);
  });

  it("closes the sockets with 1001 in app.close()", async (t) => {
    const left = new Signal("the onResponse hook");
    const { app, port, connections, errors } = await startBuilt(t, async (built) => {
      built.addHook("onResponse", async () => left.fire());
      await built.register(webSockets());
      built.get("/ws", echoRoute);
    });
    const { client } = await openClient(t, port);
    const closed = closeOf(client);
    const appClosed = app.close();
    assert.deepEqual(await closed, [1001, "server shutting down"]);
    await withTimeout(appClosed.then(() => {}));
    await left.wait();
    await until(() => connections.size === 0, "the end of the socket");
    assert.equal(app.server.listening, false);
    // The receive that the shutdown ended is no error of the application.
    assert.deepEqual(errors, []);
  });
});

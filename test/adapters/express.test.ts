import assert from "node:assert/strict";
import { describe, it } from "node:test";
import express, { type NextFunction, type Request, type Response } from "express";
import session from "express-session";
import { handleUpgrades, type WebSocketConnection } from "halyard";
import { webSockets } from "halyard/express";
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
import {
  openRaw,
  rawRequest,
  requestText,
  Signal,
  until,
  upgradeRequest,
} from "../support/network.js";

declare module "express-session" {
  interface SessionData {
    messages: string[];
  }
}

function exchangeOf(request: Request, response: Response): Exchange {
  return {
    request,
    response,
    get webSockets() {
      return request.webSockets;
    },
    setHeader: (name, value) => void response.set(name, value),
    addCookie: (name, value) => void response.cookie(name, value),
    answer: (status, body) => void response.status(status).send(body),
  };
}

const harness: Harness = {
  awaitsHandlers: false,
  reportsEverything: true,
  webSockets,
  async start({ options, steps = [], handler, registrations = 1, upgrades = {} }: Setup) {
    const app = express();
    // Else its last error handler prints what the tests throw.
    app.set("env", "test");
    const errors: unknown[] = [];
    for (const step of steps) {
      app.use(async (request, response, next) => {
        // Nothing tells a middleware of Express that those behind it are done, but the response.
        response.once("close", () => step.leave?.());
        await step.enter?.(exchangeOf(request, response));
        if (response.headersSent) return;
        if (step.around) step.around(next);
        else next();
      });
    }
    for (let n = 0; n < registrations; n++) app.use(webSockets(options));
    app.use(async (request, response) => {
      await handler(exchangeOf(request, response));
    });
    app.use((error: unknown, _request: Request, _response: Response, next: NextFunction) => {
      errors.push(error);
      next(error);
    });
    const server = app.listen(0, "127.0.0.1");
    if (upgrades !== false) handleUpgrades(server, upgrades);
    return { server, errors };
  },
};

describeAdapter("Express", harness);

describe("Express, where returning means nothing", () => {
  it("leaves the socket of a handler that returned to whoever has it", async (t) => {
    const accepted = new Signal<WebSocketConnection>("the handler");
    const left = new Signal("the response's close event");
    const { port } = await startApp(t, harness, {
      steps: [{ leave: () => left.fire() }],
      handler: async ({ webSockets }) => accepted.fire(await webSockets.accept()),
    });
    const { client } = await openClient(t, port);
    const socket = await accepted.wait();
    const answer = socket.receive();
    client.send("later");
    assert.deepEqual(await answer, { type: "text", data: "later" });
    assert.equal(socket.state, "open");
    const closed = closeOf(client);
    await socket.close(4002, "done");
    assert.deepEqual(await closed, [4002, "done"]);
    await left.wait();
  });

  it("closes with 1000 where the handler writes `await using`", async (t) => {
    const { port, errors } = await startApp(t, harness, {
      handler: async ({ webSockets }) => {
        await using socket = await webSockets.accept();
        await socket.receive();
      },
    });
    const { client } = await openClient(t, port);
    const closed = closeOf(client);
    client.send("go");
    assert.deepEqual(await closed, [1000, ""]);
    assert.deepEqual(errors, []);
  });

  it("hands refusals and lost connections to error handlers, after the answer", async (t) => {
    const app = await startApp(t, harness, { handler: echo });
    const codes = () => app.errors.map((error) => (error as { code?: string }).code);
    const { status } = await rawRequest(app.port, upgradeRequest({ "Sec-WebSocket-Key": "x" }));
    assert.equal(status, 400);
    await until(() => app.errors.length === 1, "a report of the refusal");
    const { client } = await openClient(t, app.port);
    await ask(client, "hello");
    client.terminate();
    await until(() => app.errors.length === 2, "a report of the lost connection");
    assert.deepEqual(codes(), ["ERR_HANDSHAKE_KEY", "ERR_CONNECTION_LOST"]);
  });
});

describe("Express with express-session", () => {
  it("sends the session's cookie with the 101 and keeps what the handler put into it", async (t) => {
    const store = new session.MemoryStore();
    const app = express();
    app.use(session({ secret: "test", resave: false, saveUninitialized: true, store }));
    app.use(webSockets());
    const left = new Signal("the response's close event");
    app.get("/ws", async (request, response) => {
      response.once("close", () => left.fire());
      await using socket = await request.webSockets.accept();
      for await (const message of socket) {
        request.session.messages = [...(request.session.messages ?? []), String(message.data)];
        await socket.send(request.session.id);
      }
    });
    app.get("/messages", (request, response) => void response.json(request.session.messages));
    const start = async () => {
      const server = app.listen(0, "127.0.0.1");
      handleUpgrades(server);
      return { server, errors: [] };
    };
    const { port } = await startApp(t, { ...harness, start }, { handler: echo });

    const { client, response } = await openClient(t, port);
    const cookies = response.headers["set-cookie"] ?? [];
    assert.equal(cookies.length, 1);
    const cookie = String(cookies[0]?.split(";")[0]);
    assert.match(cookie, /^connect\.sid=/);
    const id = await ask(client, "first");
    assert.ok(cookie.includes(String(id)));
    await ask(client, "second");
    client.close();
    await left.wait();

    const later = await rawRequest(
      port,
      requestText("GET /messages HTTP/1.1", { Host: "localhost", Cookie: cookie }),
    );
    assert.deepEqual(JSON.parse(later.body), ["first", "second"]);

    const again = await openRaw(port);
    t.after(() => again.destroy());
    again.write(upgradeRequest({ Cookie: cookie }));
    const { status, headers } = await again.readResponse();
    assert.deepEqual([status, headers.get("set-cookie")], [101, null]);
  });
});

/** The same handlers over HTTP/2 (RFC 8441), plain and TLS, in every framework that runs there. */
import assert from "node:assert/strict";
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
} from "node:http2";
import { describe, it, type TestContext } from "node:test";
import { type HttpBindings, serve } from "@hono/node-server";
import fastify, { type FastifyBaseLogger } from "fastify";
import {
  compose,
  HalyardError,
  handleUpgrades,
  type WebSocketManager,
  webSockets as webSocketsOfNode,
} from "halyard";
import { webSockets as webSocketsOfFastify } from "halyard/fastify";
import { webSockets as webSocketsOfHono } from "halyard/hono";
import { webSockets as webSocketsOfKoa } from "halyard/koa";
import { Hono } from "hono";
import { setCookie } from "hono/cookie";
import Koa from "koa";
import { WebSocket } from "ws";
import {
  endOf,
  openSession,
  openStream,
  readClose,
  readFrame,
  requestStream,
  selfSigned,
  serveUntilEnd,
} from "../support/http2.js";
import { keepingLogger, maskedFrame, once, openRaw, Signal, until } from "../support/network.js";

interface App {
  readonly server: Http2Server | Http2SecureServer;
  readonly errors: readonly unknown[];
}

/** One application: a middleware that guards and decorates, and a handler for /ws. */
interface Application {
  handler(webSockets: WebSocketManager): unknown;
  /** When the middleware outside is left. */
  onLeave?(): void;
}

type Framework = (tls: object | undefined, application: Application) => Promise<App>;

const certificate = selfSigned();
const logger = keepingLogger();
const isGuarded = (request: { headers: object }) => "x-guard" in request.headers;

const frameworks: Readonly<Record<string, Framework>> = {
  "node:http2": async (tls, { handler, onLeave }) => {
    const errors: unknown[] = [];
    const error = (_: string, details?: object) =>
      void errors.push((details as { error: unknown }).error);
    const listener = compose(
      [
        async (request, response, next) => {
          if (isGuarded(request)) return void response.writeHead(401).end("who are you?");
          response.setHeader("X-Framework", "set");
          response.appendHeader("Set-Cookie", "a=1");
          response.appendHeader("Set-Cookie", "b=2");
          try {
            await next();
          } finally {
            onLeave?.();
          }
        },
        webSocketsOfNode({ logger }),
        (request, response, next) => {
          if (request.method !== "GET" || request.url !== "/ws") return next();
          if (request.webSockets.isWebSocketRequest) return handler(request.webSockets);
          return response.writeHead(400).end();
        },
      ],
      { logger: { ...logger, error } },
    );
    const server = tls ? createSecureServer(tls, listener) : createServer(listener);
    return { server, errors };
  },

  Koa: async (tls, { handler, onLeave }) => {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on("error", (error) => errors.push(error));
    app.use(async (ctx, next) => {
      if (isGuarded(ctx)) {
        ctx.status = 401;
        ctx.body = "who are you?";
        return;
      }
      ctx.set("X-Framework", "set");
      ctx.cookies.set("a", "1");
      ctx.cookies.set("b", "2");
      try {
        await next();
      } finally {
        onLeave?.();
      }
    });
    app.use(webSocketsOfKoa({ logger }));
    app.use(async (ctx, next) => {
      if (ctx.method !== "GET" || ctx.path !== "/ws") return next();
      if (ctx.webSockets.isWebSocketRequest) return handler(ctx.webSockets);
      ctx.status = 400;
    });
    const server = tls ? createSecureServer(tls, app.callback()) : createServer(app.callback());
    return { server, errors };
  },

  Fastify: async (tls, { handler, onLeave }) => {
    const errors: unknown[] = [];
    const nothing = () => {};
    const loggerInstance: FastifyBaseLogger = {
      level: "error",
      ...{ fatal: nothing, warn: nothing, info: nothing, debug: nothing, trace: nothing },
      silent: nothing,
      error: (details: { err?: unknown }) => void errors.push(details.err ?? details),
      child: () => loggerInstance,
    };
    const app = fastify({ http2: true, ...(tls && { https: tls }), loggerInstance } as {
      http2: true;
    });
    app.addHook("onRequest", async (request, reply) => {
      if (isGuarded(request)) return reply.code(401).type("text/plain").send("who are you?");
      reply.header("X-Framework", "set");
      reply.header("Set-Cookie", "a=1").header("Set-Cookie", "b=2");
      return undefined;
    });
    app.addHook("onResponse", async () => onLeave?.());
    await app.register(webSocketsOfFastify({ logger }));
    app.get("/ws", async (request, reply) => {
      if (!request.webSockets.isWebSocketRequest) return reply.code(400).send();
      await handler(request.webSockets);
      return reply;
    });
    await app.ready();
    return { server: app.server, errors };
  },

  Hono: async (tls, { handler, onLeave }) => {
    const app = new Hono<{ Bindings: HttpBindings }>();
    const errors: unknown[] = [];
    app.onError((error, c) => {
      if (!(error instanceof HalyardError)) errors.push(error);
      return c.text("an error", 500);
    });
    app.use(async (c, next) => {
      if (c.req.header("x-guard")) return c.text("who are you?", 401);
      c.header("X-Framework", "set");
      setCookie(c, "a", "1");
      setCookie(c, "b", "2");
      await next();
      onLeave?.();
      return undefined;
    });
    app.use(webSocketsOfHono({ logger }));
    app.get("/ws", async (c) => {
      if (!c.var.webSockets.isWebSocketRequest) return c.body(null, 400);
      await handler(c.var.webSockets);
      return undefined;
    });
    const options = { fetch: app.fetch, port: 0, hostname: "127.0.0.1" };
    const server = tls
      ? serve({ ...options, createServer: createSecureServer, serverOptions: tls })
      : serve({ ...options, createServer });
    return { server: server as Http2Server, errors };
  },
};

const echo = async (webSockets: WebSocketManager) => {
  const [subprotocol] = webSockets.requestedProtocols;
  const socket = await webSockets.accept(subprotocol === undefined ? {} : { subprotocol });
  for await (const message of socket) await socket.send(message.data);
};

for (const [name, framework] of Object.entries(frameworks)) {
  for (const isSecure of [false, true]) {
    const tls = isSecure ? { ...certificate, allowHTTP1: true } : undefined;

    describe(`${name} over HTTP/2, ${isSecure ? "TLS" : "plain"}`, () => {
      async function start(t: { after(fn: () => unknown): void }, application: Application) {
        const app = await framework(tls, application);
        const { connections } = handleUpgrades(app.server, { logger });
        const port = await serveUntilEnd(t as never, app.server);
        return {
          ...app,
          port,
          connections,
          session: await openSession(t as never, port, { isSecure }),
        };
      }

      it("accepts by a 200 with headers and cookies, echoes, and unwinds at the close", async (t) => {
        const left = new Signal("leaving the pipeline");
        let isLeft = false;
        const app = await start(t, {
          handler: echo,
          onLeave: () => {
            isLeft = true;
            left.fire();
          },
        });
        const { headers, raw, stream } = await openStream(app.session, {
          "sec-websocket-protocol": "chat.v2, chat.v1",
        });
        assert.equal(headers["x-framework"], "set");
        assert.equal(headers["sec-websocket-protocol"], "chat.v2");
        assert.deepEqual(
          headers["set-cookie"]?.map((cookie) => cookie.split(";")[0]),
          ["a=1", "b=2"],
        );
        for (const unwanted of [
          "upgrade",
          "connection",
          "sec-websocket-accept",
          "content-length",
        ]) {
          assert.equal(headers[unwanted], undefined, unwanted);
        }
        raw.write(maskedFrame(1, "hello"));
        assert.equal((await readFrame(raw)).payload.toString(), "hello");
        assert.equal(app.connections.size, 1);
        assert.equal(isLeft, false);
        raw.write(maskedFrame(8, Buffer.from([0x0f, 0xa1])));
        assert.equal(await readClose(raw), 4001);
        stream.end();
        assert.equal(await endOf(stream), 0);
        await left.wait();
        assert.deepEqual(app.errors, []);
      });

      it("refuses by an ordinary response, and the connection goes on", async (t) => {
        const app = await start(t, { handler: echo });
        const refused = await requestStream(app.session, { "x-guard": "yes" });
        assert.equal(refused.headers[":status"], 401);
        assert.equal((await refused.raw.readBytes(12)).toString(), "who are you?");
        await endOf(refused.stream);
        const old = await requestStream(app.session, { "sec-websocket-version": "8" });
        assert.equal(old.headers[":status"], 400);
        assert.equal(old.headers["sec-websocket-version"], "13");
        await endOf(old.stream);
        const other = await requestStream(app.session, { origin: "https://evil.example" });
        assert.equal(other.headers[":status"], 403);
        await endOf(other.stream);
        const { raw } = await openStream(app.session, {
          origin: `http${isSecure ? "s" : ""}://127.0.0.1`,
        });
        raw.write(maskedFrame(1, "still"));
        assert.equal((await readFrame(raw)).payload.toString(), "still");
        assert.deepEqual(app.errors, []);
      });

      it("closes with 1000 when the handler returns, 1011 when it throws", async (t) => {
        const mistake = new Error("a mistake");
        let count = 0;
        const app = await start(t, {
          handler: async (webSockets) => {
            const socket = await webSockets.accept();
            await socket.receive();
            if (++count === 2) throw mistake;
          },
        });
        for (const status of [1000, 1011]) {
          const { raw, stream } = await openStream(app.session);
          raw.write(maskedFrame(1, "go"));
          assert.equal(await readClose(raw), status);
          raw.write(maskedFrame(8, Buffer.from([0x03, 0xe8])));
          stream.end();
          await endOf(stream);
        }
        await until(() => app.errors.length > 0, "a report of the error");
        assert.deepEqual(app.errors, [mistake]);
      });

      it("unwinds when the stream is reset, and reports nothing", async (t) => {
        const thrown = new Signal<HalyardError>("the receive loop's error");
        const left = new Signal("leaving the pipeline");
        const app = await start(t, {
          handler: (webSockets) =>
            echo(webSockets).catch((error) => {
              thrown.fire(error);
              throw error;
            }),
          onLeave: left.fire,
        });
        for (const code of [8, 2]) {
          const { stream } = await openStream(app.session);
          stream.close(code);
          assert.equal((await thrown.wait()).code, "ERR_CONNECTION_LOST");
          await left.wait();
          await until(() => app.connections.size === 0, "the socket's end");
        }
        assert.deepEqual(app.errors, []);
      });

      it("leaves ordinary requests as they are", async (t) => {
        const app = await start(t, { handler: echo });
        const stream = app.session.request({ ":path": "/ws" });
        const [headers] = await once(stream, "response");
        assert.equal(headers[":status"], 400);
      });

      // Without TLS there is no ALPN to choose between the two.
      const whenSecure: typeof it | (() => void) = isSecure ? it : () => {};
      whenSecure("serves HTTP/1.1 on the same port", async (t: TestContext) => {
        const app = await start(t, { handler: echo });
        const client = new WebSocket(`wss://127.0.0.1:${app.port}/ws`, {
          rejectUnauthorized: false,
        });
        t.after(() => client.terminate());
        await once(client, "open");
        const answer = once(client, "message");
        client.send("one");
        assert.equal(String((await answer)[0]), "one");
        const { raw } = await openStream(app.session);
        raw.write(maskedFrame(1, "two"));
        assert.equal((await readFrame(raw)).payload.toString(), "two");
        assert.equal(app.connections.size, 2);
        const http1 = await openRaw(app.port, { tls: true });
        http1.write("GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        assert.equal((await http1.readResponse()).status, 400);
        const closed = once(client, "close");
        app.server.close();
        assert.equal((await closed)[0], 1001);
        assert.equal(await readClose(raw), 1001);
      });
    });
  }
}

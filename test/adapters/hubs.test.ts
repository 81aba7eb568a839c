import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type HttpBindings, serve } from "@hono/node-server";
import express from "express";
import fastify, { type FastifyBaseLogger } from "fastify";
import { compose, handleUpgrades, type Middleware, webSockets } from "halyard";
import * as onExpress from "halyard/express";
import * as onFastify from "halyard/fastify";
import * as onHono from "halyard/hono";
import { mapConnection, mapHub } from "halyard/hub";
import * as onKoa from "halyard/koa";
import { Hono } from "hono";
import { setCookie } from "hono/cookie";
import Koa from "koa";
import {
  describeHubAdapter,
  EchoHub,
  echo,
  type HubHarness,
  type Passing,
} from "../specs/hub-adapter-suite.js";

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const onNode: HubHarness = {
  hasHttp2: true,
  parsesBodies: true,
  async start({ enter, leave, options, bodies, isHttp2, webSockets: inFront }, logger) {
    const errors: unknown[] = [];
    const first: Middleware = async (request, response, next) => {
      try {
        const passing: Passing = {
          request,
          setUser: (user) => void Object.assign(request, { user }),
          setHeader: (key, value) => void response.setHeader(key, value),
          addCookie: (key, value) => void response.appendHeader("Set-Cookie", `${key}=${value}`),
        };
        const status = enter?.(passing);
        if (status !== undefined) return void response.writeHead(status).end();
        if (bodies !== undefined && request.method === "POST") {
          const text = await readAll(request);
          Object.assign(request, { body: bodies === "text" ? text : { text } });
        }
        await next();
      } finally {
        leave?.(request);
      }
    };
    const listener = compose(
      [
        first,
        ...(inFront ? [webSockets(inFront)] : []),
        mapConnection("/echo", echo, options),
        mapHub("/hub", EchoHub, options),
        (_request, response) => void response.end("somebody else"),
      ],
      { logger: { ...logger, error: (_text, details) => void errors.push(details) } },
    );
    const server = isHttp2 ? createHttp2Server(listener) : createServer(listener);
    handleUpgrades(server, { logger });
    return { server, errors };
  },
};

const koa: HubHarness = {
  hasHttp2: true,
  parsesBodies: true,
  async start({ enter, leave, options, bodies, isHttp2, webSockets: inFront }, logger) {
    const app = new Koa();
    const errors: unknown[] = [];
    app.on("error", (error) => errors.push(error));
    app.use(async (ctx, next) => {
      try {
        const passing: Passing = {
          request: ctx.req,
          setUser: (user) => {
            ctx.state.user = user;
          },
          setHeader: (key, value) => ctx.set(key, value),
          addCookie: (key, value) => void ctx.cookies.set(key, value),
        };
        const status = enter?.(passing);
        if (status !== undefined) {
          ctx.status = status;
          return;
        }
        if (bodies !== undefined && ctx.method === "POST") {
          const text = await readAll(ctx.req);
          Object.assign(ctx.request, { body: bodies === "text" ? text : { text } });
        }
        await next();
      } finally {
        leave?.(ctx.req);
      }
    });
    if (inFront) app.use(onKoa.webSockets(inFront));
    app.use(onKoa.mapConnection("/echo", echo, options));
    app.use(onKoa.mapHub("/hub", EchoHub, options));
    app.use((ctx) => {
      ctx.body = "somebody else";
    });
    const server = isHttp2 ? createHttp2Server(app.callback()) : createServer(app.callback());
    handleUpgrades(server, { logger });
    return { server, errors };
  },
};

const ofExpress: HubHarness = {
  hasHttp2: false,
  parsesBodies: true,
  async start({ enter, leave, options, bodies, webSockets: inFront }, logger) {
    const app = express();
    app.set("env", "test");
    const errors: unknown[] = [];
    app.use((request, response, next) => {
      response.once("close", () => leave?.(request));
      const passing: Passing = {
        request,
        setUser: (user) => void Object.assign(request, { user }),
        setHeader: (key, value) => void response.set(key, value),
        addCookie: (key, value) => void response.cookie(key, value),
      };
      const status = enter?.(passing);
      if (status !== undefined) response.status(status).end();
      else next();
    });
    if (bodies === "text") app.use(express.text({ type: "*/*" }));
    if (bodies === "object") app.use(express.json({ type: "*/*" }));
    if (inFront) app.use(onExpress.webSockets(inFront));
    app.use(onExpress.mapConnection("/echo", echo, options));
    app.use(onExpress.mapHub("/hub", EchoHub, options));
    app.use((_request, response) => void response.send("somebody else"));
    app.use((error: unknown, _request: unknown, _response: unknown, next: (e: unknown) => void) => {
      errors.push(error);
      next(error);
    });
    const server = createServer(app);
    handleUpgrades(server, { logger });
    return { server, errors };
  },
};

const ofFastify: HubHarness = {
  hasHttp2: true,
  parsesBodies: false,
  async start({ enter, leave, options, bodies, isHttp2, webSockets: inFront }, logger) {
    const errors: unknown[] = [];
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
    // The types of the two differ; what is used here does not.
    const app = fastify({ loggerInstance, ...(isHttp2 && { http2: true as never }) });
    app.decorateRequest("user");
    app.addHook("onRequest", async (request, reply) => {
      reply.raw.once("close", () => leave?.(request.raw));
      const passing: Passing = {
        request: request.raw,
        setUser: (user) => void Object.assign(request, { user }),
        setHeader: (key, value) => void reply.header(key, value),
        addCookie: (key, value) => void reply.header("set-cookie", `${key}=${value}`),
      };
      const status = enter?.(passing);
      if (status !== undefined) await reply.code(status).send();
    });
    if (bodies !== undefined) {
      app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) =>
        done(null, body),
      );
    }
    if (inFront) await app.register(onFastify.webSockets(inFront));
    await app.register(onFastify.mapConnection("/echo", echo, options));
    await app.register(onFastify.mapHub("/hub", EchoHub, options));
    app.setNotFoundHandler(async () => "somebody else");
    handleUpgrades(app.server, { logger });
    await app.listen({ port: 0, host: "127.0.0.1" });
    return { server: app.server, errors };
  },
};

const hono: HubHarness = {
  hasHttp2: true,
  parsesBodies: false,
  async start({ enter, leave, options, bodies, isHttp2, webSockets: inFront }, logger) {
    const app = new Hono<{ Bindings: HttpBindings; Variables: { user: unknown } }>();
    const errors: unknown[] = [];
    app.onError((error, c) => {
      errors.push(error);
      return c.text("an error", 500);
    });
    app.use(async (c, next) => {
      const { incoming } = c.env;
      try {
        const passing: Passing = {
          request: incoming,
          setUser: (user) => c.set("user", user),
          setHeader: (key, value) => c.header(key, value),
          addCookie: (key, value) => setCookie(c, key, value),
        };
        const status = enter?.(passing);
        if (status !== undefined) return c.body(null, status as 401);
        if (bodies !== undefined && c.req.method === "POST") await c.req.text();
        await next();
        return undefined;
      } finally {
        leave?.(incoming);
      }
    });
    if (inFront) app.use(onHono.webSockets(inFront));
    app.use(onHono.mapConnection("/echo", echo, options));
    app.use(onHono.mapHub("/hub", EchoHub, options));
    app.all("*", (c) => c.text("somebody else"));
    const server = serve({
      fetch: app.fetch,
      port: 0,
      hostname: "127.0.0.1",
      ...(isHttp2 && { createServer: createHttp2Server as never }),
    });
    handleUpgrades(server as never, { logger });
    return { server: server as never, errors };
  },
};

describeHubAdapter("node:http", onNode);
describeHubAdapter("Koa", koa);
describeHubAdapter("Express", ofExpress);
describeHubAdapter("Fastify", ofFastify);
describeHubAdapter("Hono", hono);

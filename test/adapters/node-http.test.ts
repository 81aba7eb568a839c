import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, it } from "node:test";
import { compose, handleUpgrades, type Middleware, webSockets } from "halyard";
import {
  describeAdapter,
  type Exchange,
  type Harness,
  type Setup,
  type Step,
} from "../specs/adapter-suite.js";
import { keepingLogger, listen, rawRequest, requestText, stop } from "../support/network.js";

type Arguments = Parameters<Middleware>;

function exchangeOf(request: Arguments[0], response: Arguments[1]): Exchange {
  return {
    request,
    response,
    get webSockets() {
      return request.webSockets;
    },
    setHeader: (name, value) => void response.setHeader(name, value),
    addCookie: (name, value) => void response.appendHeader("Set-Cookie", `${name}=${value}`),
    answer: (status, body) => void response.writeHead(status).end(body),
  };
}

function middlewareOf(step: Step): Middleware {
  return async (request, response, next) => {
    try {
      await step.enter?.(exchangeOf(request, response));
      if (response.writableEnded) return;
      await (step.around ? step.around(next) : next());
    } finally {
      step.leave?.();
    }
  };
}

const harness: Harness = {
  awaitsHandlers: true,
  reportsEverything: false,
  webSockets,
  async start({ options, steps = [], handler, registrations = 1, upgrades = {} }: Setup) {
    const errors: unknown[] = [];
    const logger = {
      ...keepingLogger(),
      error: (_message: string, details?: object) =>
        errors.push((details as { error: unknown }).error),
    };
    const listener = compose(
      [
        ...steps.map(middlewareOf),
        ...Array.from({ length: registrations }, () => webSockets(options)),
        (request, response) => handler(exchangeOf(request, response)),
      ],
      { logger },
    );
    const server = createServer(listener);
    if (upgrades !== false) handleUpgrades(server, upgrades);
    await listen(server);
    return { server, errors };
  },
};

describeAdapter("node:http", harness);

describe("compose", () => {
  const rows: readonly (readonly [
    what: string,
    middleware: readonly Middleware[],
    status: number,
    log: RegExp | undefined,
  ])[] = [
    ["nobody answers", [(_request, _response, next) => next()], 404, undefined],
    ["there is no middleware", [], 404, undefined],
    [
      "a middleware answers",
      [
        async (_request, response, next) => {
          response.setHeader("X-Outer", "set");
          await next();
        },
        (_request, response) => response.writeHead(204).end(),
      ],
      204,
      undefined,
    ],
    [
      "a middleware throws",
      [
        () => {
          throw new Error("a mistake");
        },
      ],
      500,
      /a mistake/,
    ],
    [
      "a middleware throws an error with a status",
      [
        async () => {
          throw Object.assign(new Error("not here"), { status: 410 });
        },
      ],
      410,
      /not here/,
    ],
    [
      "a middleware throws an error with a status that is none",
      [() => Promise.reject(Object.assign(new Error("odd"), { status: 200 }))],
      500,
      /odd/,
    ],
    ["a middleware throws nothing", [() => Promise.reject(undefined)], 500, /undefined/],
    [
      "next is called twice",
      [
        async (_request, _response, next) => {
          await next();
          await next();
        },
        () => {},
      ],
      500,
      /next\(\) was called twice/,
    ],
  ];
  for (const [what, middleware, status, line] of rows) {
    it(`answers ${status} when ${what}`, async (t) => {
      const logger = keepingLogger();
      const server = createServer(compose(middleware, { logger }));
      t.after(() => stop(server));
      const port = await listen(server);
      const response = await rawRequest(
        port,
        requestText("GET / HTTP/1.1", { Host: "localhost", Connection: "close" }),
      );
      assert.equal(response.status, status);
      const errors = logger.lines.map(({ details }) =>
        String((details as { error: unknown }).error),
      );
      if (line === undefined) assert.deepEqual(errors, []);
      else {
        assert.equal(errors.length, 1);
        assert.match(errors[0] ?? "", line);
      }
    });
  }
});

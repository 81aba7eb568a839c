import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { compose, handleUpgrades, type WebSocketConnection, webSockets } from "halyard";
import { connectRaw } from "../conformance/raw-client.js";
import { casesFor, runCase } from "../conformance/suite.js";

/** The two ways to receive, each as an echo. */
const echoes: Record<string, (socket: WebSocketConnection) => Promise<void>> = {
  async "whole messages"(socket) {
    for await (const message of socket) await socket.send(message.data);
  },
  async "piece by piece"(socket) {
    // Small, and of no power of two, so that pieces end everywhere.
    const buffer = new Uint8Array(1021);
    for (;;) {
      const { count, type, endOfMessage } = await socket.receive(buffer);
      if (type === "close") break;
      await socket.send(buffer.subarray(0, count), { type, endOfMessage });
    }
    await socket.close(socket.closeStatus, socket.closeStatusDescription);
  },
};

const cases = casesFor({ maxMessageSize: 1024 * 1024 });
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

it("gives every case an id of its own", () => {
  assert.equal(new Set(cases.map(({ id }) => id)).size, cases.length);
});

for (const [form, echo] of Object.entries(echoes)) {
  describe(`conformance of the engine, ${form}`, { concurrency: 8 }, () => {
    const server = createServer(
      compose(
        [
          webSockets({ logger: quiet }),
          async (request) => {
            await echo(await request.webSockets.accept());
          },
        ],
        { logger: quiet },
      ),
    );
    handleUpgrades(server, { logger: quiet, shutdownTimeout: 100 });
    let url = "";
    before(async () => {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    });
    after(() => new Promise<void>((resolve) => server.close(() => resolve())));

    for (const each of cases) {
      it(`${each.id} ${each.title} [${each.section}]`, async () => {
        const { failure } = await runCase(each, () => connectRaw(url));
        if (failure !== undefined) throw failure;
      });
    }
  });
}

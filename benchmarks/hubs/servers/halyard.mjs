// Halyard as its documentation shows it.

import { createServer } from "node:http";
import process from "node:process";
import { listen } from "./common.mjs";

const entry = process.env.HALYARD_ENTRY ?? new URL("../../../dist/index.js", import.meta.url).href;
const { compose, handleUpgrades } = await import(entry);
const { Hub, json, mapHub } = await import(new URL("hub.js", entry).href);
const { messagePack } = await import(new URL("hub-protocol/messagepack.js", entry).href);

let taken = 0;

class BenchmarkHub extends Hub {
  echo(text) {
    return text;
  }

  take(_text) {
    taken++;
  }

  taken() {
    return taken;
  }

  async broadcast(text) {
    await this.clients.all.message(text);
  }

  async join(group) {
    await this.groups.add(this.context.connectionId, group);
  }

  async toGroup(group, text) {
    await this.clients.group(group).message(text);
  }

  async *items(count) {
    for (let i = 0; i < count; i++) yield "Hoist the signal flags, quickly.";
  }
}

const server = createServer(
  compose([mapHub("/hub", BenchmarkHub, { supportedProtocols: [json(), messagePack()] })]),
);
handleUpgrades(server);
listen(server);

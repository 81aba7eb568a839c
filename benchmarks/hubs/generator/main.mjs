// The load generator for hubs; it obeys the commands of ../../generator/commands.mjs. Its one
// argument is a scenario with the server's port and dialect, as JSON.

import { Buffer } from "node:buffer";
import process from "node:process";
import { closeClients, deferred, inGroups, obey, runLoad } from "../../generator/commands.mjs";
import { clientFrame, makeMessages } from "../../generator/frames.mjs";
import { dialects } from "./dialects.mjs";
import { negotiate, Peer, prepareOpening } from "./peer.mjs";

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {keyof typeof dialects} dialect
 * @property {"call" | "send" | "broadcast" | "group" | "stream" | "connect" | "idle"} kind
 * @property {number} connections
 * @property {number} depth - Calls, sends or broadcasts in one batch.
 * @property {number} size - Bytes of the one argument.
 * @property {number} [members] - Of the group.
 * @property {number} [items] - Of a stream.
 * @property {boolean} [negotiates]
 */
/** @type {Job} */
const job = JSON.parse(process.argv[2] ?? "{}");
const { port, kind, connections, depth, size, members = 0, items = 0, negotiates = false } = job;
const dialect = dialects[job.dialect];
const opening = prepareOpening(dialect);

/** The one argument of every call. */
const text = makeMessages("text", size)[0].payload.toString();
const group = "crew";
/** A client counts its calls; here a few hundred, again and again. All have as many digits. */
const firstId = 1000;
const batchesOfIds = 16;

/** @type {Peer[]} */
let peers = [];

const startLoad = { call, send, broadcast, group: broadcast, stream, connect }[kind];
await obey({
  open: openAll,
  run: (milliseconds) => runLoad(milliseconds, startLoad),
  async hold() {},
  close: closeAll,
});

async function openAll() {
  if (kind === "connect") return;
  peers = await inGroups(connections, () => Peer.open(port, dialect, opening));
  if (kind === "group") await inGroups(members, (index) => peers[index].call("join", [group]));
}

async function closeAll() {
  await closeClients(peers.map(({ client }) => client));
  peers = [];
}

/** Frames behind one another, for one write. */
function batch(count, make) {
  return Buffer.concat(Array.from({ length: count }, (_, index) => clientFrame(make(index))));
}

/** Every connection sends a batch, and the next one when the last was answered. */
function call(load) {
  const batches = Array.from({ length: batchesOfIds }, (_, number) =>
    batch(depth, (index) => dialect.call("echo", [text], firstId + number * depth + index)),
  );
  return inTurns(load, batches, {
    due: depth,
    count: depth,
    makeCheck: () => {
      const answered = new Set();
      return ({ type, id, value }) => {
        if (type !== "result" || value !== text) throw wrong(type, value);
        if (!(id >= firstId && id < firstId + batchesOfIds * depth)) throw wrong("id", id);
        if (answered.size < depth && answered.has(id)) throw new Error("A call is answered twice.");
        answered.add(id);
      };
    },
  });
}

/** Sends that nobody answers, and a call behind each batch, because the server works in order. */
async function send(load) {
  const frames = Buffer.concat([
    batch(depth, () => dialect.call("take", [text])),
    batch(1, () => dialect.call("echo", ["fence"], firstId)),
  ]);
  const before = await peers[0].call("taken");
  await inTurns(load, [frames], {
    due: 1,
    count: depth,
    makeCheck:
      () =>
      ({ type, value }) => {
        if (type !== "result" || value !== "fence") throw wrong(type, value);
      },
  });
  const taken = (await peers[0].call("taken")) - before;
  if (taken !== load.count) throw new Error(`${load.count} sent, ${taken} taken.`);
}

/** Every connection has a stream, and begins the next one when the last has ended. */
function stream(load) {
  const batches = Array.from({ length: batchesOfIds }, (_, index) =>
    batch(1, () => dialect.stream("items", [items], firstId + index)),
  );
  return inTurns(load, batches, {
    due: items + 1,
    count: items,
    makeCheck: () => {
      let left = items;
      return ({ type, value }) => {
        if (type === "item") {
          if (value !== text) throw wrong(type, value);
          left--;
        } else if (type === "end") {
          // Later items are not looked into, only counted.
          if (left > 0) throw new Error(`A stream has ended ${left} items early.`);
        } else throw wrong(type, value);
      };
    },
  });
}

function inTurns(load, batches, { due, count, makeCheck }) {
  const { promise, resolve } = deferred();
  let busy = peers.length;
  for (const [index, peer] of peers.entries()) {
    let next = index % batches.length;
    const write = () => {
      peer.write(batches[next]);
      next = (next + 1) % batches.length;
    };
    peer.count(due, makeCheck(), () => {
      load.count += count;
      if (!load.isOver) write();
      else if (--busy === 0) resolve();
    });
    write();
  }
  return promise;
}

/** The first connection is the publisher: it sends the next batch when everybody has the last. */
async function broadcast(load) {
  const receivers = kind === "group" ? peers.slice(0, members) : peers;
  const frames = batch(depth, () =>
    kind === "group" ? dialect.call("toGroup", [group, text]) : dialect.call("broadcast", [text]),
  );
  const { promise, resolve } = deferred();
  let due = 0;
  const publish = () => {
    due = receivers.length;
    receivers[0].write(frames);
  };
  const check = ({ type, value }) => {
    if (type !== "event" || value !== text) throw wrong(type, value);
  };
  for (const peer of receivers) {
    peer.count(depth, check, () => {
      load.count += depth;
      if (--due > 0) return;
      if (load.isOver) resolve();
      else publish();
    });
  }
  publish();
  await promise;
}

/** Every worker connects, makes one call, closes, and begins anew. */
async function connect(load) {
  const work = async () => {
    while (!load.isOver) {
      const prepared = negotiates
        ? prepareOpening(dialect, await negotiate(port, dialect))
        : opening;
      const peer = await Peer.open(port, dialect, prepared);
      const value = await peer.call("echo", [text]);
      if (value !== text) throw wrong("result", value);
      await peer.end();
      load.count++;
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
}

function wrong(type, value) {
  return new Error(`Not what was expected: ${type} ${String(value).slice(0, 100)}`);
}

// What is measured of hubs. Names are what --only takes.

const common = { connections: 64, depth: 1, size: 32 };
const calls = { ...common, kind: "call", unit: "calls" };
const toMany = { ...common, kind: "broadcast", connections: 500, size: 100, unit: "deliveries" };
const connecting = { ...common, kind: "connect", connections: 32, unit: "connections" };

/** @type {readonly (import("../../lib/measure.mjs").Scenario &
 *   Omit<import("../generator/main.mjs").Job, "port" | "dialect">)[]} */
export const scenarios = [
  { ...calls, name: "call-32-1", title: "call and result 32 B, one in flight" },
  { ...calls, name: "call-32-16", title: "call and result 32 B, 16 in flight", depth: 16 },
  { ...calls, name: "call-1k-1", title: "call and result 1 KiB, one in flight", size: 1024 },
  {
    ...calls,
    name: "call-1k-16",
    title: "call and result 1 KiB, 16 in flight",
    size: 1024,
    depth: 16,
  },
  {
    ...common,
    name: "send-32",
    title: "sends without a result 32 B",
    kind: "send",
    unit: "sends",
    depth: 64,
  },
  { ...toMany, name: "broadcast-100-1", title: "broadcast 100 B to 500, one at a time" },
  { ...toMany, name: "broadcast-100-4", title: "broadcast 100 B to 500, four in flight", depth: 4 },
  { ...toMany, name: "broadcast-2k-1", title: "broadcast 2 KiB to 500", size: 2048 },
  {
    ...toMany,
    name: "group-50",
    title: "100 B to a group of 50 among 500",
    kind: "group",
    members: 50,
  },
  {
    ...common,
    name: "stream-32",
    title: "items of server streams 32 B",
    kind: "stream",
    unit: "items",
    items: 1000,
  },
  { ...connecting, name: "connect", title: "connect, handshake, call, close" },
  {
    ...connecting,
    name: "connect-negotiate",
    title: "negotiate, connect, handshake, call, close",
    negotiates: true,
  },
  {
    ...common,
    name: "idle-5000",
    title: "idle connection, one of 5,000",
    kind: "idle",
    unit: "bytes",
    connections: 5000,
    heap: true,
  },
];

// What is measured. Names are what --only takes.

const common = { kind: "echo", connections: 64, depth: 1, content: "binary", size: 32 };
const perSecond = { ...common, unit: "messages" };

/** @type {readonly (import("./measure.mjs").Scenario &
 *   Omit<import("../generator/main.mjs").Job, "port">)[]} */
export const scenarios = [
  { ...perSecond, name: "echo-32-1", title: "echo 32 B, one in flight" },
  { ...perSecond, name: "echo-32-16", title: "echo 32 B, 16 in flight", depth: 16 },
  { ...perSecond, name: "echo-1k-1", title: "echo 1 KiB, one in flight", size: 1024 },
  { ...perSecond, name: "echo-1k-16", title: "echo 1 KiB, 16 in flight", size: 1024, depth: 16 },
  { ...perSecond, name: "echo-16k-1", title: "echo 16 KiB, one in flight", size: 16384 },
  { ...perSecond, name: "echo-16k-16", title: "echo 16 KiB, 16 in flight", size: 16384, depth: 16 },
  {
    ...perSecond,
    name: "echo-1m-1",
    title: "echo 1 MiB, 4 connections",
    size: 2 ** 20,
    connections: 4,
  },
  {
    ...perSecond,
    name: "text-32-16",
    title: "text 32 B, 16 in flight",
    content: "text",
    depth: 16,
  },
  {
    ...perSecond,
    name: "utf8-1k-16",
    title: "UTF-8 text 1 KiB, 16 in flight",
    content: "utf8",
    size: 1024,
    depth: 16,
  },
  { ...perSecond, name: "connections-1", title: "echo 32 B, 1 connection", connections: 1 },
  {
    ...perSecond,
    name: "connections-1000",
    title: "echo 32 B, 1,000 connections",
    connections: 1000,
  },
  {
    ...common,
    name: "broadcast-500",
    title: "broadcast 128 B to 500",
    unit: "deliveries",
    kind: "broadcast",
    content: "text",
    size: 128,
    connections: 500,
  },
  {
    ...common,
    name: "open-close",
    title: "open + close",
    unit: "connections",
    kind: "open-close",
    connections: 32,
  },
  {
    ...perSecond,
    name: "deflate-1k-1",
    title: "JSON text 1 KiB, deflate, one in flight",
    content: "json",
    size: 1024,
    compress: true,
  },
  {
    ...perSecond,
    name: "deflate-1k-16",
    title: "JSON text 1 KiB, deflate, 16 in flight",
    content: "json",
    size: 1024,
    depth: 16,
    compress: true,
  },
  {
    ...common,
    name: "idle-5000",
    title: "idle connection, one of 5,000",
    unit: "bytes",
    kind: "idle",
    connections: 5000,
  },
  {
    ...common,
    name: "idle-deflate-1000",
    title: "idle connection that compressed, one of 1,000",
    unit: "bytes",
    kind: "idle",
    content: "json",
    size: 1024,
    connections: 1000,
    compress: true,
  },
];

import { releaseSlab } from "../protocol/frame-writer.js";

/** Something with output to be written at the end of the turn. */
export interface Flushable {
  /** Writes what waits. @returns Whether nobody refers to those bytes any more. */
  flush(): boolean;
}

let waiting: Flushable[] = [];
let slabIsFree = true;

const settled = Promise.resolve();
const flushAtTick = () => process.nextTick(flushAll);

/**
 * Has `flush` called when the running callbacks and the promise reactions they caused are done, so
 * that everything sent meanwhile leaves in one write per connection. One tick serves all.
 */
export function flushSoon(connection: Flushable): void {
  // By way of a promise: a tick that a callback asks for runs before its promise reactions do.
  if (waiting.length === 0) void settled.then(flushAtTick);
  waiting.push(connection);
}

/** Writes at once what `connection` has; the slab is released with the others' output. */
export function flushNow(connection: Flushable): void {
  if (!connection.flush()) slabIsFree = false;
}

function flushAll(): void {
  const connections = waiting;
  waiting = [];
  for (const connection of connections) flushNow(connection);
  releaseSlab(slabIsFree);
  slabIsFree = true;
}

import { releaseSlab, slabSize, slabUse } from "../protocol/frame-writer.js";

/** Something with output to be written when the turn is over. */
export interface Flushable {
  /** Writes what waits. @returns Whether nobody refers to those bytes any more. */
  flush(): boolean;
}

/** Before more input is handled than this many connections have answered, the answers leave. */
const mostWaiting = 16;
/** Before more input is handled, what has waited this long leaves, in milliseconds. */
const longestWait = 1;

let waiting: Flushable[] = [];
/** When the first of them began to wait. */
let since = 0;
let isScheduled = false;
let slabIsFree = true;

/**
 * Has `flush` called when the running callbacks and the promise reactions they caused are done, so
 * that everything sent meanwhile leaves in one write per connection.
 *
 * That is when the event loop has handled the input that was there ({@link flushBeforeInput} may be
 * sooner): one callback serves all connections that were read, where a tick for each of them costs
 * a tenth of what a small message costs.
 */
export function flushSoon(connection: Flushable): void {
  if (waiting.length === 0) since = performance.now();
  waiting.push(connection);
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(onImmediate);
}

/**
 * Writes what waits if it should not wait for the handling of still more input: to be called
 * before. So an answer waits for one other connection's handler at most if that takes long, and the
 * slab is used again while it is in the processor's cache.
 */
export function flushBeforeInput(): void {
  if (waiting.length === 0) return;
  const isDue =
    waiting.length >= mostWaiting ||
    slabUse() > slabSize / 2 ||
    performance.now() - since >= longestWait;
  if (isDue) flushAll();
}

/** Writes at once what `connection` has; the slab is released with the others' output. */
export function flushNow(connection: Flushable): void {
  if (!connection.flush()) slabIsFree = false;
}

function onImmediate(): void {
  isScheduled = false;
  flushAll();
}

function flushAll(): void {
  const connections = waiting;
  waiting = [];
  for (const connection of connections) flushNow(connection);
  releaseSlab(slabIsFree);
  slabIsFree = true;
}

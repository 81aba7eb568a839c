import type { Duplex } from "node:stream";
import { sharedInput } from "../protocol/shared-input.js";

/**
 * Takes what was read.
 *
 * @param chunk - Network bytes, which the receiver may change.
 * @param end - How many of them were read: `chunk` may be longer.
 */
export type ChunkHandler = (chunk: Buffer, end: number) => void;

/** The parts of a net.Socket that its documented option `onread` sets up. */
interface ReadInternals {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

interface SocketHandle {
  useUserBuffer?(buffer: Uint8Array): void;
  /** Bytes read so far. */
  readonly bytesRead?: number;
  /** What node:net has called for each read. */
  onread?: (this: SocketHandle, memory?: ArrayBuffer) => unknown;
}

/** What node:net's own callback does for a socket at each read, besides handing the bytes on. */
interface TimedSocket {
  /** What `setTimeout` was told last. */
  readonly timeout?: number;
  _unrefTimer?(): void;
}

/**
 * Hands everything that `socket` receives to `onChunk`.
 *
 * A TCP socket reads into one buffer that all of them share: node:net documents that for sockets
 * that connect (the option `onread`), and here it is applied to those that a server accepted, which
 * saves an allocation of 64 KiB, a Buffer and a pass through the stream per read. What the option
 * sets up is looked for by name; where it is not found, as with TLS, the stream is used.
 *
 * @returns Whether chunks are shared: then they are valid until the promise reactions that follow
 *   the call are done, and whatever is kept longer must be copied.
 */
export function readFrom(socket: Duplex, onChunk: ChunkHandler): boolean {
  const internals = internalsOf(socket);
  if (internals === undefined) {
    socket.on("data", (chunk: Buffer) => onChunk(chunk, chunk.length));
    return false;
  }
  const target = socket as unknown as Record<symbol, unknown> & { _handle: SocketHandle };
  target[internals.buffer] = sharedInput;
  target[internals.generator] = null;
  if (!takeReads(target._handle, socket as TimedSocket, onChunk)) {
    target[internals.callback] = (count: number) => {
      onChunk(sharedInput, count);
      return true;
    };
  }
  target._handle.useUserBuffer?.(sharedInput);
  // A stream that flows holds nothing, and goes on by itself.
  if (socket.readableFlowing && socket.readableLength === 0) return true;
  // What the stream has read already comes first, and copied: the handler may be called only later.
  for (let early = socket.read() as Buffer | null; early !== null; early = socket.read()) {
    const chunk = early;
    process.nextTick(() => onChunk(chunk, chunk.length));
  }
  process.nextTick(() => {
    if (!socket.destroyed && !socket.isPaused()) socket.resume();
  });
  return true;
}

/**
 * Takes the place of node:net's callback for reads, which looks at the socket and the states of its
 * stream first: with a thousand sockets those are misses of the cache, half of what a read costs
 * outside the kernel. Ends and errors are left to it.
 *
 * @returns Whether this Node lets us.
 */
function takeReads(handle: SocketHandle, socket: TimedSocket, onChunk: ChunkHandler): boolean {
  const { onread, bytesRead } = handle;
  if (typeof onread !== "function" || typeof bytesRead !== "number") return false;
  let total = bytesRead;
  handle.onread = function (memory) {
    // How much was read is told to node:net alone; by what the total has grown tells it too.
    const before = total;
    total = this.bytesRead as number;
    if (total === before) return onread.call(this, memory);
    if (socket.timeout) socket._unrefTimer?.();
    onChunk(sharedInput, total - before);
    return undefined;
  };
  return true;
}

/** Found once: the symbols are the same for every socket. */
let known: ReadInternals | undefined;

function internalsOf(socket: Duplex): ReadInternals | undefined {
  const handle = (socket as unknown as { _handle?: SocketHandle })._handle;
  if (typeof handle?.useUserBuffer !== "function" || "encrypted" in socket) return undefined;
  if (known !== undefined && known.buffer in socket) return known;
  const symbols = new Map(
    Object.getOwnPropertySymbols(socket).map((symbol) => [symbol.description, symbol]),
  );
  const buffer = symbols.get("kBuffer");
  const callback = symbols.get("kBufferCb");
  const generator = symbols.get("kBufferGen");
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined;
  known = { buffer, callback, generator };
  return known;
}

import type { Duplex } from "node:stream";

/** The handle below a TCP socket, as far as node:net's own stream uses it to write. */
export interface WriteHandle {
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize: number;
  writeBuffer(request: WriteRequest | null, chunk: Uint8Array): WriteResult;
  writev(request: WriteRequest | null, chunks: Uint8Array[], areAllBuffers: true): WriteResult;
}

/** 0, or the negative number of a system error; where Node makes requests, one if that is needed. */
type WriteResult = number | WriteRequest;

/** Node's object for one write. */
interface WriteRequest {
  /** -1 as long as no write under way belongs to it. */
  getAsyncId(): number;
  oncomplete?: (status: number) => void;
  owner?: WriteOwner;
  /** Keeps the bytes alive until they are written. */
  output?: Uint8Array | Uint8Array[];
}

/** Who is told when a write is done that took its time. */
export interface WriteOwner {
  /** @param status - Negative when it failed: the number of a system error. */
  onWriteComplete(status: number): void;
}

/**
 * How this Node writes, once a write has shown it: by requests of this class that the writer makes,
 * by requests that the handle makes when it needs one (24 and later), or in a way not known here.
 */
let requests: (new () => WriteRequest) | "made by the handle" | "unknown" | undefined;
/** A request that no write needs: most are done at once, and then the next one takes it too. */
let spare: WriteRequest | undefined;

function onComplete(this: WriteRequest, status: number): void {
  this.owner?.onWriteComplete(status);
}

/**
 * The handle to which `socket` may be written without its stream, which costs a third of what a
 * small write costs outside the kernel; `undefined` where this Node does not work as expected, as
 * with TLS. Nothing may be waiting in the stream, and nobody may write to it any more.
 *
 * The class of the requests cannot be had by name: the first socket's next write shows it.
 */
export function writeHandleOf(socket: Duplex): WriteHandle | undefined {
  const handle = (socket as unknown as { _handle?: Partial<WriteHandle> | null })._handle;
  if (requests === "unknown" || handle === null || handle === undefined) return undefined;
  if (handle.constructor.name !== "TCP" || typeof handle.writeQueueSize !== "number") {
    return undefined;
  }
  const { writeBuffer, writev } = handle;
  if (typeof writeBuffer !== "function" || typeof writev !== "function") return undefined;
  if (requests !== undefined) return handle as WriteHandle;
  handle.writeBuffer = (request, chunk) => {
    handle.writeBuffer = writeBuffer;
    const result = writeBuffer.call(handle, request, chunk);
    requests = waysOf(request, result);
    return result;
  };
  return undefined;
}

function waysOf(request: WriteRequest | null, result: WriteResult): typeof requests {
  if (request === null) return typeof result === "number" ? "made by the handle" : undefined;
  const found = request.constructor as new () => WriteRequest;
  return found.name === "WriteWrap" && "getAsyncId" in found.prototype ? found : "unknown";
}

/** Whether `handle` is still that of `socket`, which lets go of it when it is destroyed. */
export function isHandleOf(socket: Duplex, handle: WriteHandle): boolean {
  return (socket as unknown as { _handle?: WriteHandle | null })._handle === handle;
}

/**
 * Writes by the handle.
 *
 * @param owner - Is told when what could not be written at once is.
 * @returns 0, or the negative number of a system error. What still waits is the handle's
 *   `writeQueueSize`; if that is 0, the memory may be used again.
 */
export function writeTo(
  handle: WriteHandle,
  output: Uint8Array | Uint8Array[],
  owner: WriteOwner,
): number {
  if (requests === "made by the handle") {
    const result = write(handle, null, output);
    if (typeof result === "number") return result;
    goOn(result, output, owner);
    return 0;
  }
  spare ??= new (requests as new () => WriteRequest)();
  const request = spare;
  const status = write(handle, request, output) as number;
  // Only a write that goes on takes the request, and with it an id; the size of the queue would not
  // tell, since a write may have emptied it and still owe its callback.
  if (request.getAsyncId() !== -1) {
    spare = undefined;
    goOn(request, output, owner);
  }
  return status;
}

function write(
  handle: WriteHandle,
  request: WriteRequest | null,
  output: Uint8Array | Uint8Array[],
): WriteResult {
  return output instanceof Uint8Array
    ? handle.writeBuffer(request, output)
    : handle.writev(request, output, true);
}

/** Prepares for the end of a write that could not be done at once. */
function goOn(request: WriteRequest, output: Uint8Array | Uint8Array[], owner: WriteOwner): void {
  request.oncomplete = onComplete;
  request.owner = owner;
  request.output = output;
}

import type { Duplex } from "node:stream";

/** The handle below a TCP socket, as far as node:net's own stream uses it to write. */
export interface WriteHandle {
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize: number;
  writeBuffer(request: WriteRequest, chunk: Uint8Array): number;
  writev(request: WriteRequest, chunks: Uint8Array[], areAllBuffers: true): number;
}

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

/** Node's class of the requests, once a write has shown it; `null` where there is none. */
let requestClass: (new () => WriteRequest) | null | undefined;
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
  if (requestClass === null || handle === null || handle === undefined) return undefined;
  if (handle.constructor.name !== "TCP" || typeof handle.writeQueueSize !== "number") {
    return undefined;
  }
  const { writeBuffer, writev } = handle;
  if (typeof writeBuffer !== "function" || typeof writev !== "function") return undefined;
  if (requestClass !== undefined) return handle as WriteHandle;
  handle.writeBuffer = (request, chunk) => {
    handle.writeBuffer = writeBuffer;
    // Newer Nodes make a request only when one is needed, and are quick enough by themselves.
    const found = (request as object | null)?.constructor as (new () => WriteRequest) | undefined;
    const isKnown = found?.name === "WriteWrap" && "getAsyncId" in found.prototype;
    requestClass = isKnown ? found : null;
    return writeBuffer.call(handle, request, chunk);
  };
  return undefined;
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
  spare ??= new (requestClass as new () => WriteRequest)();
  const request = spare;
  const status =
    output instanceof Uint8Array
      ? handle.writeBuffer(request, output)
      : handle.writev(request, output, true);
  // Only a write that goes on takes the request, and with it an id; the size of the queue would not
  // tell, since a write may have emptied it and still owe its callback.
  if (request.getAsyncId() !== -1) {
    spare = undefined;
    request.oncomplete = onComplete;
    request.owner = owner;
    request.output = output;
  }
  return status;
}

import { quiet } from "../deferred.js";
import type { CompletionMessage, StreamItemMessage } from "../hub-protocol/messages.js";
import { checked, type StandardSchema } from "./contract.js";
import { errorText } from "./error-text.js";
import type { ResolvedHubOptions } from "./options.js";
import { type UploadOwner, UploadStream, uploadError } from "./streams.js";

/** An open stream from the client. */
interface Upload {
  readonly stream: UploadStream;
  readonly schema: StandardSchema | undefined;
}

/** The streams that one client uploads, by the ids it gave them. */
export class Uploads implements UploadOwner {
  readonly #options: ResolvedHubOptions;
  readonly #onUnblocked: () => void;
  readonly #open = new Map<string, Upload>();
  #waiting: { stream: UploadStream; item: unknown } | undefined;

  /** @param onUnblocked - Called when an item that waited has found room. */
  constructor(options: ResolvedHubOptions, onUnblocked: () => void) {
    this.#options = options;
    this.#onUnblocked = onUnblocked;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Whether an item waits for room, so that nothing behind it may be read. */
  get isBlocked(): boolean {
    return this.#waiting !== undefined;
  }

  /** Opens a stream; one with the same id ends. */
  open(id: string, schema: StandardSchema | undefined): UploadStream {
    this.#open.get(id)?.stream.close();
    const stream = new UploadStream(id, this.#options.streamBufferCapacity, this);
    this.#open.set(id, { stream, schema });
    return stream;
  }

  /** The method is done with a stream; what still comes for it is ignored. */
  close(stream: UploadStream): void {
    // Its id may be another's by now.
    if (this.#open.get(stream.id)?.stream === stream) this.#open.delete(stream.id);
    stream.close();
  }

  /** An item came; one for a stream that is not open is ignored. */
  add(message: StreamItemMessage): void {
    const upload = this.#open.get(message.invocationId);
    if (upload === undefined) return;
    const { stream, schema } = upload;
    try {
      if (message.bindingError !== undefined) throw message.bindingError;
      let item = schema === undefined ? message.item : checked(schema, message.item, "An item");
      if (item instanceof Promise) {
        item = quiet(
          item.catch((error) => {
            throw this.#bindingError(error);
          }),
        );
      }
      if (stream.isFull) this.#waiting = { stream, item };
      else stream.push(item);
    } catch (error) {
      stream.end(this.#bindingError(error));
    }
  }

  #bindingError(error: unknown): Error {
    const { enableDetailedErrors } = this.#options;
    return uploadError(errorText("Failed to bind Stream message.", error, enableDetailedErrors));
  }

  /** The client has ended a stream. @returns Whether there was one of that id. */
  complete(message: CompletionMessage): boolean {
    const upload = this.#open.get(message.invocationId);
    if (upload === undefined) return false;
    this.#open.delete(message.invocationId);
    upload.stream.end(message.error === undefined ? undefined : uploadError(message.error));
    return true;
  }

  onRoom(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.stream.isFull) return;
    this.#waiting = undefined;
    waiting.stream.push(waiting.item);
    this.#onUnblocked();
  }

  /** The connection has ended, and so have they all. */
  end(error: Error): void {
    this.#waiting = undefined;
    for (const { stream } of this.#open.values()) stream.end(error);
    this.#open.clear();
  }
}

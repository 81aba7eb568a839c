import { Deferred, rejected } from "../deferred.js";
import { type CloseInfo, InvalidStateError } from "../errors.js";
import type { MessageType } from "../protocol/protocol.js";
import { decodeUtf8 } from "../protocol/shared-input.js";
import { sliceLatin1 } from "../protocol/text-slices.js";
import { Gathering } from "./gathering.js";
import type { PushedInput } from "./pushed-input.js";

/** A whole text message. */
export interface TextMessage {
  readonly type: "text";
  readonly data: string;
}

/** A whole binary message. `data` may share its memory with messages next to it: copy it to keep it long. */
export interface BinaryMessage {
  readonly type: "binary";
  readonly data: Buffer;
}

export type Message = TextMessage | BinaryMessage;

/** The peer's Close frame, in its place behind the last message. */
export interface CloseMessage extends CloseInfo {
  readonly type: "close";
  readonly data?: undefined;
}

/** What a piecewise `receive(buffer)` found. */
export interface ReceiveResult {
  /** Bytes written to the front of the buffer; may be 0. */
  readonly count: number;
  readonly type: MessageType | "close";
  /** Whether the message ends with these bytes. True for `"close"`. */
  readonly endOfMessage: boolean;
}

/** How the incoming side ends: by the peer's Close frame, or by an error. */
export type Ending = { readonly close: CloseInfo } | { readonly error: Error };

/** What the queue asks of its owner. */
export interface MessageQueueOwner {
  /** More input is wanted: a receive waits, or there is room again. */
  onWanted(): void;
  /** Everything before the ending was received, and now the ending itself. */
  onEndReached(ending: Ending, byIteration: boolean): void;
}

/**
 * Bytes up to this many are made messages at once, if nobody waits for them yet; for more it costs
 * less to copy them together with their neighbours. Text is never copied, only decoded.
 */
const eagerSize = 128;
/** What an unread piece costs besides its bytes. */
const pieceOverhead = 128;
interface Piece {
  readonly type: MessageType;
  chunk: Buffer;
  start: number;
  end: number;
  /** Bytes of its frame that follow. */
  readonly announced: number;
  readonly isAscii: boolean;
  readonly endsFrame: boolean;
  readonly endsMessage: boolean;
}

/** The one receive that may wait. */
interface PendingReceive {
  /** The form in which it wants its answer. */
  readonly kind: "message" | "iteration" | "piece";
  readonly answer: Deferred<unknown>;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  /** For `"piece"`: where the bytes go, how many are there, and what they are. */
  readonly buffer: Uint8Array;
  filled: number;
  type: MessageType | undefined;
}

const noBuffer = new Uint8Array(0);

/**
 * Pieces of frames on one side, receives on the other: whole messages or piecewise.
 *
 * With a receive waiting, a message is gathered as it comes (up to `maxMessageSize`, which the
 * protocol watches). Without one, pieces wait up to the receive window; then {@link isFull} tells
 * the owner to stop reading. At most one receive waits at a time, and then nothing is unread.
 */
export class MessageQueue {
  readonly #owner: MessageQueueOwner;
  readonly #window: number;
  /**
   * Unread messages that came in one piece, decoded as they came, from `#nextMessage` on; the
   * pieces come behind all of them. That costs less than to keep a piece and decode it later, but
   * is of no use to who receives piecewise, hence only while the latest receive was for a message.
   */
  #messages: Message[] = [];
  #nextMessage = 0;
  #wantsMessages = false;
  /** Whether the latest piece left its message open. */
  #isInMessage = false;
  /** Unread pieces, from `#head` on. */
  #pieces: Piece[] = [];
  #head = 0;
  /** Index up to which pieces lie in memory of their own. */
  #keptUpTo = 0;
  #unread = 0;
  #gathering: Gathering | undefined;
  #pending: PendingReceive | undefined;
  #ending: Ending | undefined;
  #endWasReached = false;
  #isRefusing = false;

  /** @param window - Unread bytes, overhead counted, that make the queue full. */
  constructor(owner: MessageQueueOwner, window: number) {
    this.#owner = owner;
    this.#window = window;
  }

  /**
   * Whether reading should stop: enough is unread and nobody waits for more.
   *
   * @param more - Bytes that others hold for this queue.
   */
  isFull(more: number): boolean {
    return this.#unread + more >= this.#window && this.#pending === undefined;
  }

  /** Whether reading should go on after it had stopped; half the window, so that it does not flap. */
  get hasRoom(): boolean {
    return this.#unread <= this.#window / 2 || this.#pending !== undefined;
  }

  /** Bytes of unread pieces, overhead counted. */
  get unread(): number {
    return this.#unread;
  }

  /** Bytes set aside for the message that a waiting receive is gathering. */
  get gathered(): number {
    return this.#gathering?.capacity ?? 0;
  }

  // --- from the protocol ---

  /**
   * Takes a piece of a message; see `ProtocolEvents.onData`. {@link keep} must follow before the
   * chunk's memory is used again.
   *
   * @param announced - Bytes of the piece's frame that follow it.
   * @param isAscii - Whether the piece is known to be all ASCII.
   */
  push(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    announced: number,
    isAscii: boolean,
    endsFrame: boolean,
    endsMessage: boolean,
  ): void {
    const pending = this.#pending;
    const isWhole = endsMessage && !this.#isInMessage;
    this.#isInMessage = !endsMessage;
    // The two usual cases, without a piece in between: a whole message meets a waiting receive, or
    // comes before it.
    const isEager = pending !== undefined || type === "text" || end - start <= eagerSize;
    if (isWhole && isEager && this.#wantsMessages && this.#head === this.#pieces.length) {
      const message = copied(type, chunk, start, end, isAscii);
      if (pending !== undefined) {
        this.#settle(pending).resolve(answer(pending.kind, message));
      } else {
        this.#messages.push(message);
        this.#unread += message.data.length + pieceOverhead;
      }
      return;
    }
    this.#pieces.push({ type, chunk, start, end, announced, isAscii, endsFrame, endsMessage });
    this.#unread += end - start + pieceOverhead;
    if (pending === undefined) return;
    const result = this.#take(pending);
    if (result !== undefined) this.#settle(pending).resolve(result);
  }

  /** Ends the incoming side, behind whatever is unread. Only the first ending counts. */
  end(ending: Ending): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    const pending = this.#pending;
    if (pending !== undefined) this.#settleWith(ending, pending);
  }

  /** Drops everything unread. A waiting receive goes on waiting. */
  discard(): void {
    this.#messages = [];
    this.#nextMessage = 0;
    this.#pieces = [];
    this.#head = 0;
    this.#keptUpTo = 0;
    this.#unread = 0;
    this.#gathering = undefined;
  }

  /**
   * Copies what is unread out of the chunk it came in, all at once with the headers between:
   * one copy of some bytes more is cheaper than many.
   */
  keep(): void {
    const from = Math.max(this.#head, this.#keptUpTo);
    const pieces = this.#pieces;
    this.#keptUpTo = pieces.length;
    if (from === pieces.length) return;
    const first = pieces[from] as Piece;
    const base = first.start;
    const { end } = pieces[pieces.length - 1] as Piece;
    const copy = Buffer.allocUnsafeSlow(end - base);
    first.chunk.copy(copy, 0, base, end);
    for (let index = from; index < pieces.length; index++) {
      const piece = pieces[index] as Piece;
      piece.chunk = copy;
      piece.start -= base;
      piece.end -= base;
    }
  }

  // --- to a sink ---

  /** How the incoming side ended, behind whatever is unread. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** From now on no receive is accepted: what is unread goes to a sink. @throws As a receive does. */
  refuseReceives(): void {
    if (this.#pending !== undefined || this.#isRefusing) throw receivePending();
    this.#isRefusing = true;
  }

  /** Gives the oldest unread piece away. @returns Whether there was one. */
  handTo(pushed: PushedInput): boolean {
    this.#useAsPieces();
    const piece = this.#shift();
    if (piece === undefined) return false;
    pushed.push(piece.chunk, piece.start, piece.end, piece.endsMessage);
    return true;
  }

  // --- from the application ---

  /** The next whole message, or the Close frame behind the last one. */
  receiveMessage(signal: AbortSignal | undefined): Promise<Message | CloseMessage> {
    return this.#receive("message", noBuffer, signal) as Promise<Message | CloseMessage>;
  }

  /** The next whole message in the form in which an async iterator gives it. */
  next(): Promise<IteratorResult<Message, undefined>> {
    return this.#receive("iteration", noBuffer, undefined) as Promise<
      IteratorResult<Message, undefined>
    >;
  }

  /** The next bytes of the current message, of one frame at most. */
  receivePiece(buffer: Uint8Array, signal: AbortSignal | undefined): Promise<ReceiveResult> {
    return this.#receive("piece", buffer, signal) as Promise<ReceiveResult>;
  }

  #receive(
    kind: PendingReceive["kind"],
    buffer: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    if (this.#pending !== undefined || this.#isRefusing) return rejected(receivePending());
    if (signal?.aborted) return rejected(signal.reason);
    this.#wantsMessages = kind !== "piece";
    if (kind === "piece") {
      this.#useAsPieces();
    } else if (this.#messages.length > 0 || this.#pieces[this.#head]?.endsMessage) {
      // A whole message waits already, so nothing has to be set up.
      const message = this.#nextWhole() ?? (this.#takeMessage() as Message);
      this.#owner.onWanted();
      return Promise.resolve(answer(kind, message));
    }
    const onAbort = signal && (() => this.#abort(pending));
    const pending: PendingReceive = {
      kind,
      answer: new Deferred<unknown>(),
      signal,
      onAbort,
      buffer,
      filled: 0,
      type: undefined,
    };
    this.#pending = pending;
    if (onAbort) signal.addEventListener("abort", onAbort, { once: true });
    const result = this.#take(pending);
    if (result !== undefined) this.#settle(pending).resolve(result);
    else if (this.#ending !== undefined) this.#settleWith(this.#ending, pending);
    this.#owner.onWanted();
    return pending.answer.promise;
  }

  /** What answers `pending`, if it is wholly there; what is there of it is taken in any case. */
  #take(pending: PendingReceive): unknown {
    if (pending.kind === "piece") return this.#takePiece(pending);
    const message = this.#takeMessage();
    return message && answer(pending.kind, message);
  }

  #takeMessage(): Message | undefined {
    let piece = this.#shift();
    if (piece?.endsMessage && this.#gathering === undefined) {
      return decode(piece.type, piece.chunk, piece.start, piece.end, piece.isAscii);
    }
    for (; piece !== undefined; piece = this.#shift()) {
      this.#gathering ??= new Gathering(piece.type);
      this.#gathering.add(piece.chunk, piece.start, piece.end, piece.announced);
      if (!piece.endsMessage) continue;
      const { type } = this.#gathering;
      const bytes = this.#gathering.takeBytes();
      this.#gathering = undefined;
      return decode(type, bytes, 0, bytes.length, false);
    }
    return undefined;
  }

  #nextWhole(): Message | undefined {
    const messages = this.#messages;
    const message = messages[this.#nextMessage];
    if (message === undefined) return undefined;
    this.#unread -= message.data.length + pieceOverhead;
    if (++this.#nextMessage === messages.length) {
      messages.length = 0;
      this.#nextMessage = 0;
    }
    return message;
  }

  /** Makes pieces of the messages that were decoded for somebody else. */
  #useAsPieces(): void {
    if (this.#messages.length === 0) return;
    const unread = this.#pieces.slice(this.#head);
    this.#pieces = [];
    this.#head = 0;
    for (let message = this.#nextWhole(); message !== undefined; message = this.#nextWhole()) {
      const { type } = message;
      const chunk = type === "text" ? Buffer.from(message.data, "utf8") : message.data;
      const flags = { announced: 0, isAscii: false, endsFrame: true, endsMessage: true };
      this.#pieces.push({ type, chunk, start: 0, end: chunk.length, ...flags });
      this.#unread += chunk.length + pieceOverhead;
    }
    this.#pieces.push(...unread);
    this.#keptUpTo = this.#pieces.length;
  }

  #takePiece(pending: PendingReceive): ReceiveResult | undefined {
    const { buffer } = pending;
    let piece = this.#pieces[this.#head];
    for (; piece !== undefined; piece = this.#pieces[this.#head]) {
      const { type, chunk, endsFrame, endsMessage } = piece;
      const count = Math.min(buffer.length - pending.filled, piece.end - piece.start);
      chunk.copy(buffer, pending.filled, piece.start, piece.start + count);
      pending.type = type;
      pending.filled += count;
      piece.start += count;
      this.#unread -= count;
      if (piece.start === piece.end) {
        this.#shift();
        if (endsFrame) return { count: pending.filled, type, endOfMessage: endsMessage };
      }
      if (pending.filled === buffer.length) {
        return { count: pending.filled, type, endOfMessage: false };
      }
    }
    return undefined;
  }

  #shift(): Piece | undefined {
    const piece = this.#pieces[this.#head];
    if (piece === undefined) return undefined;
    this.#unread -= piece.end - piece.start + pieceOverhead;
    this.#head++;
    if (this.#head === this.#pieces.length) {
      this.#pieces.length = 0;
      this.#head = 0;
      this.#keptUpTo = 0;
    }
    return piece;
  }

  /** Gives up a waiting receive; the bytes it already took go back to the front of the queue. */
  #abort(pending: PendingReceive): void {
    const gathering = this.#gathering;
    this.#gathering = undefined;
    if (gathering !== undefined) {
      this.#putBack(gathering.type, gathering.takeBytes());
    } else if (pending.filled > 0) {
      const bytes = Buffer.allocUnsafeSlow(pending.filled);
      bytes.set(pending.buffer.subarray(0, pending.filled));
      this.#putBack(pending.type as MessageType, bytes);
    }
    this.#settle(pending).reject(pending.signal?.reason);
  }

  /** @param bytes - Taken from a frame of which more is to come, so that nothing is unread. */
  #putBack(type: MessageType, chunk: Buffer): void {
    const end = chunk.length;
    const rest = { announced: 0, isAscii: false, endsFrame: false, endsMessage: false };
    this.#pieces = [{ type, chunk, start: 0, end, ...rest }];
    this.#head = 0;
    this.#keptUpTo = 1;
    this.#unread = end + pieceOverhead;
  }

  #settle(pending: PendingReceive): Deferred<unknown> {
    this.#pending = undefined;
    if (pending.onAbort) pending.signal?.removeEventListener("abort", pending.onAbort);
    return pending.answer;
  }

  #settleWith(ending: Ending, pending: PendingReceive): void {
    this.#gathering = undefined;
    const deferred = this.#settle(pending);
    if ("error" in ending) deferred.reject(ending.error);
    else if (pending.kind === "iteration") deferred.resolve({ done: true, value: undefined });
    else if (pending.kind === "message") deferred.resolve({ type: "close", ...ending.close });
    else deferred.resolve({ count: 0, type: "close", endOfMessage: true });
    if (this.#endWasReached) return;
    this.#endWasReached = true;
    this.#owner.onEndReached(ending, pending.kind === "iteration");
  }
}

function receivePending(): InvalidStateError {
  return new InvalidStateError(
    "ERR_RECEIVE_PENDING",
    "Another receive is waiting on this socket; await it before the next one.",
  );
}

function answer(kind: PendingReceive["kind"], message: Message): unknown {
  return kind === "message" ? message : { done: false, value: message };
}

/** A message out of memory that will be used again. */
function copied(
  type: MessageType,
  chunk: Buffer,
  start: number,
  end: number,
  isAscii: boolean,
): Message {
  if (type === "text") return decode(type, chunk, start, end, isAscii);
  const data = Buffer.allocUnsafe(end - start);
  chunk.copy(data, 0, start, end);
  return { type, data };
}

/** A message out of memory of its own. */
function decode(
  type: MessageType,
  chunk: Buffer,
  start: number,
  end: number,
  isAscii: boolean,
): Message {
  return type === "text"
    ? { type, data: isAscii ? sliceLatin1(chunk, start, end) : decodeUtf8(chunk, start, end) }
    : { type, data: chunk.subarray(start, end) };
}

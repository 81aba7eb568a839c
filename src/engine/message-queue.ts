import { Buffer } from "node:buffer";
import { Deferred, rejected } from "../deferred.js";
import { type CloseInfo, InvalidStateError } from "../errors.js";
import type { MessageType } from "../protocol/protocol.js";
import { decodeUtf8 } from "../protocol/shared-input.js";
import { sliceLatin1 } from "../protocol/text-slices.js";
import { Gathering } from "./gathering.js";
import { copyOf, copyToSlab, viewOf } from "./message-memory.js";
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

/** What an unread piece costs besides its bytes. */
const pieceOverhead = 128;

/** A piece of a message that nobody has received yet. */
interface Piece {
  readonly type: MessageType;
  /** A whole text message, decoded as it came; then the piece has no bytes. */
  text: string | undefined;
  /** The bytes are `chunk[start..end)`. */
  chunk: Buffer;
  start: number;
  end: number;
  /** Bytes of its frame that follow. */
  readonly announced: number;
  readonly endsFrame: boolean;
  readonly endsMessage: boolean;
}

/** The one receive that may wait. */
class PendingReceive extends Deferred<unknown> {
  /** The form in which it wants its answer. */
  readonly kind: "message" | "iteration" | "piece";
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  /** For `"piece"`: where the bytes go, how many are there, and what they are. */
  readonly buffer: Uint8Array;
  filled = 0;
  type: MessageType | undefined;

  constructor(kind: PendingReceive["kind"], buffer: Uint8Array, signal: AbortSignal | undefined) {
    super();
    this.kind = kind;
    this.buffer = buffer;
    this.signal = signal;
  }
}

const noBuffer = Buffer.alloc(0);
/** Places for pieces that an empty queue keeps. */
const mostSpare = 64;

/**
 * Pieces of frames on one side, receives on the other: whole messages or piecewise.
 *
 * With a receive waiting, a message is gathered as it comes (up to `maxMessageSize`, which the
 * protocol watches). Without one, pieces wait up to the receive window; then {@link isFull} tells
 * the owner to stop reading. At most one receive waits at a time, and then nothing is unread.
 *
 * Bytes are copied at most twice: by {@link keep} into memory that connections share, all that one
 * read has brought at once, and if nobody has received them at the end of the turn, by {@link own}.
 */
export class MessageQueue {
  readonly #owner: MessageQueueOwner;
  readonly #window: number;
  /**
   * Unread pieces, from `#head` to `#tail`; made with the first. The places are used again, since to
   * shorten an array costs more than the rest of a receive.
   */
  #pieces: (Piece | undefined)[] | undefined;
  #head = 0;
  #tail = 0;
  #unread = 0;
  #pending: PendingReceive | undefined;
  /**
   * Whether the latest receive was for a message: then text is decoded where it lies, which costs
   * less than to keep its bytes, but is of no use to who receives piecewise.
   */
  #wantsMessages = false;
  /** Whether the latest piece left its message open. */
  #isInMessage = false;
  #isRefusing = false;
  /** The chunk of the present read, and the part of it that unread pieces lie in. */
  #lent: Buffer | undefined;
  #lentStart = 0;
  #lentEnd = 0;
  /** Where the pieces begin that may lie in memory that connections share; -1 when none do. */
  #sharedFrom = -1;
  #gathering: Gathering | undefined;
  #ending: Ending | undefined;
  #endWasReached = false;

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

  /** Whether {@link own} has something to do. */
  get isSharing(): boolean {
    return this.#sharedFrom >= 0;
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
    const isMessage = endsMessage && !this.#isInMessage && this.#wantsMessages;
    this.#isInMessage = !endsMessage;
    if (isMessage && pending !== undefined) {
      this.#settle(pending).resolve(
        answer(
          pending.kind,
          type === "text"
            ? { type, data: decode(chunk, start, end, isAscii) }
            : { type, data: viewOfCopy(chunk, start, end) },
        ),
      );
      return;
    }
    if (isMessage && type === "text") {
      const text = decode(chunk, start, end, isAscii);
      this.#append(wholePiece(type, text, noBuffer));
      this.#unread += text.length + pieceOverhead;
      return;
    }
    if (this.#lent === undefined) {
      this.#lent = chunk;
      this.#lentStart = start;
    }
    this.#lentEnd = end;
    this.#append({ type, text: undefined, chunk, start, end, announced, endsFrame, endsMessage });
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
    this.#pieces = undefined;
    this.#head = this.#tail = 0;
    this.#unread = 0;
    this.#lent = undefined;
    this.#sharedFrom = -1;
    this.#gathering = undefined;
  }

  /**
   * Copies what is unread out of the chunk it came in, all at once with the headers between:
   * one copy of some bytes more is cheaper than many.
   */
  keep(): void {
    const lent = this.#lent;
    if (lent === undefined) return;
    this.#lent = undefined;
    if (this.#head === this.#tail) return;
    const { chunk, start } = copyToSlab(lent, this.#lentStart, this.#lentEnd);
    const shift = start - this.#lentStart;
    const pieces = this.#pieces as Piece[];
    for (let index = this.#head; index < this.#tail; index++) {
      const piece = pieces[index] as Piece;
      if (piece.chunk !== lent) continue;
      moveTo(piece, chunk, shift);
      if (this.#sharedFrom < 0) this.#sharedFrom = index;
    }
  }

  /**
   * Gives what is unread memory of its own, so that a few bytes that nobody receives do not keep
   * what connections share: to be called at the end of the turn.
   */
  own(): void {
    const pieces = this.#pieces as Piece[];
    let index = Math.max(this.#head, this.#sharedFrom);
    this.#sharedFrom = -1;
    while (index < this.#tail) {
      const { chunk, start } = pieces[index] as Piece;
      let next = index + 1;
      while (next < this.#tail && pieces[next]?.chunk === chunk) next++;
      const { end } = pieces[next - 1] as Piece;
      if (end - start < chunk.length) {
        const copy = copyOf(chunk, start, end);
        for (; index < next; index++) moveTo(pieces[index] as Piece, copy, -start);
      }
      index = next;
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
    const piece = this.#shift();
    if (piece === undefined) return false;
    encodeText(piece);
    pushed.push(piece.chunk, piece.start, piece.end, piece.endsMessage);
    return true;
  }

  // --- from the application ---

  /** The next whole message, or the Close frame behind the last one. */
  receiveMessage(signal: AbortSignal | undefined): Promise<Message | CloseMessage> {
    if (signal?.aborted) return rejected(signal.reason);
    const message = this.#nextWhole();
    return message === undefined
      ? (this.#receive("message", noBuffer, signal) as Promise<Message | CloseMessage>)
      : Promise.resolve(message);
  }

  /** The next whole message in the form in which an async iterator gives it. */
  next(): Promise<IteratorResult<Message, undefined>> {
    const message = this.#nextWhole();
    return message === undefined
      ? (this.#receive("iteration", noBuffer, undefined) as Promise<
          IteratorResult<Message, undefined>
        >)
      : Promise.resolve({ done: false, value: message });
  }

  /** The next bytes of the current message, of one frame at most. */
  receivePiece(buffer: Uint8Array, signal: AbortSignal | undefined): Promise<ReceiveResult> {
    if (signal?.aborted) return rejected(signal.reason);
    return this.#receive("piece", buffer, signal) as Promise<ReceiveResult>;
  }

  /** A message that is wholly there: nothing has to be set up for it. No receive waits then. */
  #nextWhole(): Message | undefined {
    if (this.#head === this.#tail || this.#isRefusing) return undefined;
    const piece = this.#pieces?.[this.#head] as Piece;
    if (!piece.endsMessage) return undefined;
    this.#wantsMessages = true;
    this.#shift();
    this.#owner.onWanted();
    return messageOf(piece);
  }

  #receive(
    kind: PendingReceive["kind"],
    buffer: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    if (this.#pending !== undefined || this.#isRefusing) return rejected(receivePending());
    this.#wantsMessages = kind !== "piece";
    const pending = new PendingReceive(kind, buffer, signal);
    this.#pending = pending;
    if (signal !== undefined) {
      pending.onAbort = () => this.#abort(pending);
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    const result = this.#take(pending);
    if (result !== undefined) this.#settle(pending).resolve(result);
    else if (this.#ending !== undefined) this.#settleWith(this.#ending, pending);
    this.#owner.onWanted();
    return pending.promise;
  }

  /** What answers `pending`, if it is wholly there; what is there of it is taken in any case. */
  #take(pending: PendingReceive): unknown {
    if (pending.kind === "piece") return this.#takePiece(pending);
    const message = this.#takeMessage();
    return message && answer(pending.kind, message);
  }

  #takeMessage(): Message | undefined {
    let piece = this.#shift();
    if (piece?.endsMessage && this.#gathering === undefined) return messageOf(piece);
    for (; piece !== undefined; piece = this.#shift()) {
      this.#gathering ??= new Gathering(piece.type);
      this.#gathering.add(piece.chunk, piece.start, piece.end, piece.announced);
      if (!piece.endsMessage) continue;
      const { type } = this.#gathering;
      const data = this.#gathering.takeBytes();
      this.#gathering = undefined;
      return type === "text" ? { type, data: decode(data, 0, data.length, false) } : { type, data };
    }
    return undefined;
  }

  #takePiece(pending: PendingReceive): ReceiveResult | undefined {
    const { buffer } = pending;
    let piece = this.#pieces?.[this.#head];
    for (; piece !== undefined; piece = this.#pieces?.[this.#head]) {
      this.#unread += encodeText(piece);
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

  #append(piece: Piece): void {
    // A queue that is never empty would otherwise grow by the places of what was received.
    if (this.#head >= mostSpare && this.#head >= this.#tail / 2) this.#compact();
    this.#pieces ??= [];
    this.#pieces[this.#tail++] = piece;
  }

  #compact(): void {
    const head = this.#head;
    this.#pieces = this.#pieces?.slice(head, this.#tail);
    this.#head = 0;
    this.#tail -= head;
    if (this.#sharedFrom >= 0) this.#sharedFrom = Math.max(0, this.#sharedFrom - head);
  }

  #shift(): Piece | undefined {
    if (this.#head === this.#tail) return undefined;
    const pieces = this.#pieces as (Piece | undefined)[];
    const piece = pieces[this.#head] as Piece;
    pieces[this.#head++] = undefined;
    this.#unread -= sizeOf(piece) + pieceOverhead;
    if (this.#head === this.#tail) {
      this.#head = this.#tail = 0;
      this.#lent = undefined;
      this.#sharedFrom = -1;
      if (pieces.length > mostSpare) this.#pieces = undefined;
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

  /** @param chunk - Taken from a frame of which more is to come, so that nothing is unread. */
  #putBack(type: MessageType, chunk: Buffer): void {
    const end = chunk.length;
    const rest = { announced: 0, endsFrame: false, endsMessage: false };
    this.#append({ type, text: undefined, chunk, start: 0, end, ...rest });
    this.#unread = end + pieceOverhead;
  }

  #settle(pending: PendingReceive): Deferred<unknown> {
    this.#pending = undefined;
    if (pending.onAbort) pending.signal?.removeEventListener("abort", pending.onAbort);
    return pending;
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

function wholePiece(type: MessageType, text: string | undefined, chunk: Buffer): Piece {
  const flags = { announced: 0, endsFrame: true, endsMessage: true };
  return { type, text, chunk, start: 0, end: chunk.length, ...flags };
}

function sizeOf({ text, start, end }: Piece): number {
  return text === undefined ? end - start : text.length;
}

function moveTo(piece: Piece, chunk: Buffer, shift: number): void {
  piece.chunk = chunk;
  piece.start += shift;
  piece.end += shift;
}

/** Gives bytes to text that was decoded for somebody else. @returns By how much the size grew. */
function encodeText(piece: Piece): number {
  const { text } = piece;
  if (text === undefined) return 0;
  piece.text = undefined;
  piece.chunk = Buffer.from(text, "utf8");
  piece.end = piece.chunk.length;
  return piece.end - text.length;
}

/** The message that `piece` is the whole, or the rest, of. */
function messageOf({ type, text, chunk, start, end }: Piece): Message {
  return type === "text"
    ? { type, data: text ?? decode(chunk, start, end, false) }
    : { type, data: viewOf(chunk, start, end) };
}

function viewOfCopy(source: Buffer, from: number, to: number): Buffer {
  const { chunk, start } = copyToSlab(source, from, to);
  return viewOf(chunk, start, start + to - from);
}

function decode(chunk: Buffer, start: number, end: number, isAscii: boolean): string {
  return isAscii ? sliceLatin1(chunk, start, end) : decodeUtf8(chunk, start, end);
}

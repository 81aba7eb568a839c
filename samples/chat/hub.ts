import { Hub, HubError } from "halyard/hub";
import type { ChatClient, ChatServer, Tally } from "./contract.js";
import type { Room, Rooms } from "./rooms.js";

/** Time that somebody has to answer a question, in milliseconds. */
const timeToAnswer = 25_000;

/** What is kept for a connection. */
interface Person {
  readonly name: string;
  readonly room: Room;
}

/** Rooms where people talk and ask each other. Each call has an object of its own. */
export class ChatHub extends Hub<ChatClient> implements ChatServer {
  readonly #rooms: Rooms;

  constructor(rooms: Rooms) {
    super();
    this.#rooms = rooms;
  }

  async join(name: string, roomName: string) {
    const { connectionId, transport, protocol } = this.context;
    if (this.context.items.has("person")) throw new HubError("You are in a room already.");
    const room = this.#rooms.enter(roomName, connectionId, name);
    this.context.items.set("person", { name, room } satisfies Person);
    await this.groups.add(connectionId, room.name);
    await this.clients.othersInGroup(room.name).arrived(name);
    await this.#tellWhoIsHere(room);
    return { connectionId, transport, protocol };
  }

  async *history() {
    yield* [...this.#person.room.messages];
  }

  async say(text: string) {
    const { name, room } = this.#person;
    const by = this.context.connectionId;
    const message = this.#rooms.add(room, { from: name, by, text, at: Date.now() });
    await this.clients.group(room.name).message(message);
  }

  async typing() {
    const { name, room } = this.#person;
    await this.clients.othersInGroup(room.name).typing(name);
  }

  async *ask(question: string) {
    const { name, room } = this.#person;
    const others = [...room.people.keys()].filter((id) => id !== this.context.connectionId);
    const tally: Tally = { yes: 0, no: 0, waiting: others.length };
    yield { ...tally };
    for await (const answer of inOrderOfArrival(others.map((id) => this.#answerOf(id, question)))) {
      tally.waiting--;
      if (answer !== undefined) tally[answer ? "yes" : "no"]++;
      yield { ...tally };
    }
    await this.clients.othersInGroup(room.name).answered(name, question, tally);
  }

  override async onDisconnected() {
    const person = this.context.items.get("person") as Person | undefined;
    if (person === undefined) return;
    const { name, room } = person;
    this.#rooms.leave(room, this.context.connectionId);
    await this.clients.othersInGroup(room.name).left(name);
    await this.#tellWhoIsHere(room);
  }

  get #person(): Person {
    const person = this.context.items.get("person") as Person | undefined;
    if (person === undefined) throw new HubError("Join a room first.");
    return person;
  }

  async #tellWhoIsHere(room: Room) {
    await this.clients.group(room.name).people([...room.people.values()]);
  }

  /** What one page says; `undefined` if it says nothing in time, or is gone. */
  async #answerOf(connectionId: string, question: string): Promise<boolean | undefined> {
    const { signal } = this;
    const client = this.clients.client(connectionId).invoke({ timeout: timeToAnswer, signal });
    try {
      return await client.confirm(this.#person.name, question);
    } catch {
      return undefined;
    }
  }
}

/** The values of promises, none of which rejects, the quickest first. */
async function* inOrderOfArrival<T>(promises: readonly Promise<T>[]): AsyncGenerator<T> {
  const waiting = new Map(
    promises.map((promise, index) => [index, promise.then((value) => ({ index, value }))]),
  );
  while (waiting.size > 0) {
    const { index, value } = await Promise.race(waiting.values());
    waiting.delete(index);
    yield value;
  }
}

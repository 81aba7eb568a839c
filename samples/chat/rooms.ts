import type { Message } from "./contract.js";

const messagesKept = 50;

/** A room, which lasts as long as somebody is in it. */
export interface Room {
  readonly name: string;
  /** Names, by connection id. */
  readonly people: Map<string, string>;
  /** The newest messages, the oldest first. */
  readonly messages: Message[];
}

/** Who is where, and what was said there. Groups only know whom to send to. */
export class Rooms {
  readonly #rooms = new Map<string, Room>();
  #lastId = 0;

  enter(roomName: string, connectionId: string, personName: string): Room {
    let room = this.#rooms.get(roomName);
    if (room === undefined) {
      room = { name: roomName, people: new Map(), messages: [] };
      this.#rooms.set(roomName, room);
    }
    room.people.set(connectionId, personName);
    return room;
  }

  leave(room: Room, connectionId: string): void {
    room.people.delete(connectionId);
    if (room.people.size === 0) this.#rooms.delete(room.name);
  }

  /** Keeps a message and numbers it. */
  add(room: Room, said: Omit<Message, "id">): Message {
    const message = { id: ++this.#lastId, ...said };
    room.messages.push(message);
    if (room.messages.length > messagesKept) room.messages.shift();
    return message;
  }
}

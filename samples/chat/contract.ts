import { type ClientOf, defineContract, type ServerOf } from "halyard/hub";
import { z } from "zod";

const name = z.string().trim().min(1).max(30);
const text = z.string().trim().min(1).max(500);

const message = z.object({
  /** Counts up within the process. */
  id: z.number(),
  from: z.string(),
  /** Connection id of who said it. */
  by: z.string(),
  text: z.string(),
  /** In milliseconds since 1970. */
  at: z.number(),
});

const tally = z.object({ yes: z.number(), no: z.number(), waiting: z.number() });

const welcome = z.object({ connectionId: z.string(), transport: z.string(), protocol: z.string() });

/** What pages may call, what they can be called with, and what all of it looks like. */
export const contract = defineContract({
  server: {
    /** Enters a room under a name. */
    join: { args: [name, name], result: welcome },
    /** Streams what was said in the room. */
    history: { stream: message },
    say: { args: [text] },
    typing: {},
    /** Asks everybody else in the room, and streams the count of answers. */
    ask: { args: [text], stream: tally },
  },
  client: {
    message: { args: [message] },
    people: { args: [z.array(z.string())] },
    arrived: { args: [z.string()] },
    left: { args: [z.string()] },
    typing: { args: [z.string()] },
    /** A question of somebody's, which the page answers with yes or no. */
    confirm: { args: [z.string(), z.string()], result: z.boolean() },
    answered: { args: [z.string(), z.string(), tally] },
  },
});

export type ChatServer = ServerOf<typeof contract>;
export type ChatClient = ClientOf<typeof contract>;
export type Message = z.infer<typeof message>;
export type Tally = z.infer<typeof tally>;
